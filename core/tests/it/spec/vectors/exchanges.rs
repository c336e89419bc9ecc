//! Whole exchanges, replayed into real links byte for byte.

use std::collections::VecDeque;

use countersign_core::{
    ChannelConfig, CloseMode, CloseReason, Config, Dialect, Disconnect, EndReason, Event, Instant,
    Link, Output, PeerId, ReceiveChannel, ReceiveError, Role, SendChannel, Verdict,
};

use super::{Vector, bytes, parse, read};
use crate::common::Cut;
use crate::common::bytes::to_hex;

#[test]
fn links_say_what_the_exchanges_say() {
    for file in ["exchanges.txt", "tlsstream.txt"] {
        for vector in read(file) {
            for cut in [Cut::Whole, Cut::Bytes] {
                replay(&vector, cut);
            }
        }
    }
}

struct End {
    link: Link,
    told: VecDeque<String>,
    /// The identity that the other end has proved.
    peer: Option<PeerId>,
}

const NOW: Instant = Instant::ZERO;

impl End {
    fn new(vector: &Vector, role: Role) -> Self {
        let seed = match role {
            Role::Opener => [1; 16],
            Role::Acceptor => [2; 16],
        };
        let mut end = Self::offline(vector, role, seed);
        end.connect();
        end
    }

    fn offline(vector: &Vector, role: Role, seed: [u8; 16]) -> Self {
        let who = match role {
            Role::Opener => "opener",
            Role::Acceptor => "acceptor",
        };
        let config = vector.all(who).fold(Config::new(), |config, line| {
            let mut words = line.split(' ');
            let mode = words.next().expect("a mode");
            let name = words.next().expect("a name");
            let channel: ChannelConfig = match (mode, words.next()) {
                ("send", None) => SendChannel::new(name).into(),
                ("send", Some("latest")) => SendChannel::new(name).latest().into(),
                ("receive", None) => ReceiveChannel::new(name).into(),
                ("receive", Some("latest")) => ReceiveChannel::new(name).latest().into(),
                ("receive", Some("manual")) => ReceiveChannel::new(name).manual().into(),
                _ => panic!("'{line}' is not known"),
            };
            config.channel(channel)
        });
        let single = vector.all("single").any(|ends| ends == who);
        let config = if single {
            config.single_session()
        } else {
            config
        };
        let config = match vector.all("dialect").next() {
            Some(_) => config.dialect(Dialect::TlsStream),
            None => config,
        };
        let link = Link::new(&config, role, seed).expect("a config that fits");
        let told = VecDeque::new();
        let proven = vector.all("proven").next().is_some();
        let peer = proven.then_some(PeerId([7; 32]));
        Self { link, told, peer }
    }

    fn connect(&mut self) {
        self.link.handle_opened(NOW).expect("offline");
        self.link.handle_secured(NOW, self.peer).expect("securing");
    }

    /// All that the end says now, and whether it ends its direction.
    fn say(&mut self) -> (Vec<u8>, bool) {
        let mut said = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            match self.link.poll_output(NOW, &mut buffer) {
                Output::Written(n) => said.extend(&buffer[..n]),
                other => return (said, other == Output::End),
            }
        }
    }

    fn act(&mut self, action: &str) {
        let words: Vec<&str> = action.split(' ').collect();
        if words[0] == "close" {
            let reason = match words[1..] {
                [] => CloseReason::ALL_WELL,
                [code, ..] => CloseReason::new(parse(code), words[2..].join(" ")),
            };
            return self.link.close_with(NOW, CloseMode::Drain, reason);
        }
        let channel = self.link.channel_id(words[1]).expect("a declared channel");
        match words[0] {
            "send" => {
                let sent = self.link.send(NOW, channel, bytes(words[2]), None);
                sent.expect("accepted");
            }
            "border" => {
                let border = self.link.take(NOW, channel);
                assert!(matches!(border, Err(ReceiveError::SessionBorder(_))));
            }
            "take" => {
                let message = self.link.take(NOW, channel).expect("receive mode");
                let message = message.expect("a message that waits");
                assert_eq!(to_hex(&message.payload), words[2]);
            }
            "handle" => self
                .link
                .handle(NOW, channel, parse(words[2]))
                .expect("taken"),
            "reject" => {
                let (number, code) = (parse(words[2]), parse(words[3]));
                let rejected = self.link.reject(NOW, channel, number, code, words[4]);
                rejected.expect("taken");
            }
            other => panic!("'{other}' is not known"),
        }
    }

    /// The next event that the application gets, leaving out those that don't concern verdicts.
    fn hears(&mut self) -> String {
        while let Some(event) = self.link.poll_event() {
            let told = self.describe(&event);
            self.told.extend(told);
        }
        self.told.pop_front().unwrap_or_default()
    }

    fn describe(&self, event: &Event) -> Option<String> {
        let name = |channel: &countersign_core::ChannelId| {
            self.link.config().channels()[usize::from(channel.0)].name()
        };
        match event {
            Event::Handled {
                channel,
                first,
                last,
                ..
            } => Some(format!("handled {} {first} {last}", name(channel))),
            Event::Verdict {
                channel,
                sequence,
                verdict,
            } => Some(match verdict {
                Verdict::Rejected(no) => {
                    let said = format!("{} {}", no.code, no.reason);
                    format!("rejected {} {sequence} {}", name(channel), said.trim_end())
                }
                other => format!("{} {} {sequence}", other.kind(), name(channel)),
            }),
            Event::Ended => Some(match self.link.end_reason() {
                Some(EndReason::Closed { theirs, .. }) if theirs.is_all_well() => {
                    "closed".to_owned()
                }
                Some(EndReason::Closed { theirs, .. }) => {
                    format!("closed {} {}", theirs.code, theirs.text)
                }
                Some(EndReason::Incompatible(_)) => "incompatible".to_owned(),
                Some(EndReason::SessionLost(_)) => "ended with its session".to_owned(),
                Some(EndReason::Refused(no)) => format!("refused {} {}", no.code, no.text),
                other => format!("{other:?}"),
            }),
            Event::Resumed => Some("resumed".to_owned()),
            Event::SessionLost(_) => Some("session lost".to_owned()),
            _ => None,
        }
    }
}

fn replay(vector: &Vector, cut: Cut) {
    let mut ends = [
        End::new(vector, Role::Opener),
        End::new(vector, Role::Acceptor),
    ];
    for line in &vector.lines {
        let context = format!("'{}', {cut:?}: {line}", vector.name);
        let at = line.find(['>', '~', '!', '=', '|', ':']).expect("a step");
        let (who, rest) = line.split_at(at);
        let (step, rest) = rest.split_at(1);
        let from = usize::from(who == "acceptor");
        let to = 1 - from;
        match step {
            ":" => {}
            "!" => ends[from].act(rest.trim()),
            "=" => assert_eq!(ends[from].hears(), rest.trim(), "{context}"),
            ">" | "~" => {
                let (said, _) = ends[from].say();
                let (most, rest) = match step {
                    "~" => rest.trim().split_once(' ').expect("how many bytes arrive"),
                    _ => ("-", rest),
                };
                assert_eq!(to_hex(&said), to_hex(&bytes(rest.trim())), "{context}");
                let most = if step == "~" { parse(most) } else { said.len() };
                for piece in cut.pieces(&said[..most]) {
                    ends[to].link.handle_input(NOW, piece);
                }
            }
            _ if rest.trim() == "lost" => ends[from].link.handle_lost(NOW, Disconnect::Transport),
            _ if rest.trim() == "connected" => ends[from].connect(),
            _ if rest.trim() == "restarted" => {
                let role = [Role::Opener, Role::Acceptor][from];
                ends[from] = End::offline(vector, role, [3; 16]);
            }
            _ => {
                assert_eq!(ends[from].say(), (Vec::new(), true), "{context}");
                ends[to].link.handle_eof(NOW);
            }
        }
    }
    for end in &mut ends {
        assert_eq!(end.say().0, [], "'{}' goes on", vector.name);
        assert_eq!(end.hears(), "", "'{}' goes on", vector.name);
    }
}
