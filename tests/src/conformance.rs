//! The list of scenarios, and the tests that are made of it.
//!
//! Every scenario stands in the list once. It runs as it is, with links that end with their
//! connections, and again with lasting links whose connections are [cut at random](crate::cutting),
//! but for those that can't bear that, each for the reason that stands beside it.
//!
//! What runs on which [pair of backends](crate::backends) comes from these two lists alone.

use crate::backends::Couple;
use crate::harness::{Trial, trial};
use crate::{Pair, Transport, cutting, scenarios, watch_as};

/// A scenario, and where it can run.
#[derive(Debug)]
pub struct Scenario {
    /// The module in [`scenarios`](mod@crate::scenarios).
    pub module: &'static str,
    /// The function in the module.
    pub name: &'static str,
    /// The scenario itself.
    pub run: fn(&Pair),
    /// How the connections may be secured.
    pub transports: &'static [Transport],
    /// Why its connections can't be cut at random, if so.
    pub of_one_connection: Option<&'static str>,
}

/// The scenarios of a list, of which each can name why its connections can't be cut.
macro_rules! list {
    ($transports:expr; $($module:ident { $($name:ident $(: $why:literal)?,)* })*) => {
        &[$($(
            Scenario {
                module: stringify!($module),
                name: stringify!($name),
                run: scenarios::$module::$name,
                transports: $transports,
                of_one_connection: list!(@ $($why)?),
            },
        )*)*]
    };
    (@) => { None };
    (@ $why:literal) => { Some($why) };
}

/// The scenarios that do not care about security.
static ANY: &[Scenario] = list! { &[Transport::Tls, Transport::Plain];
    modes {
        both_send,
        both_receive,
        missing_at_the_server,
        missing_at_the_client,
        policies_that_conflict,
        everything_that_fits,
        handles_that_can_not_be_had,
    }
    verdicts {
        handled_by_being_taken,
        handled_when_said_so,
        rejected_with_code_and_reason,
        rejected_by_dropping_the_delivery,
        rejected_by_dropping_the_receiver,
        superseded,
        latest_keeps_two_in_flight,
        in_flight_holds_back,
        expired,
        withdrawn_by_close,
        unknown_after_a_cut: "a link that ends with its connection",
        the_rest_before_the_error: "a link that ends with its connection",
    }
    sizes {
        the_smallest,
        around_the_frame_limit,
        the_smallest_frames,
        the_largest_frames,
        large_ones,
        the_maximum_and_one_more,
    }
    pressure {
        a_full_queue_hands_back,
        a_full_queue_of_bytes,
        send_waits_for_room,
        a_large_message_waits_for_its_room,
        many_wait_for_room,
        a_batch_larger_than_the_queue,
        both_ends_full,
    }
    channels {
        as_many_as_there_can_be,
        a_full_channel_holds_up_no_other,
        a_batch_counts_its_verdicts,
        a_batch_may_be_handled_in_part,
        a_batch_stops_at_what_can_not_be_sent,
        senders_in_many_threads,
        an_urgent_message_overtakes: "counts bytes",
    }
    closing {
        drain,
        idle,
        the_rest_then_none,
        busy_from_the_client,
        busy_from_the_server,
        busy_from_both,
        dropping_all_handles_closes,
        dropping_the_receiving_end,
        after_idling: "a time limit that a return may take longer than; and tlsstream",
        receipts_outlive_links: "a link that ends with its connection",
        a_peer_that_does_not_answer: "ends that are not orderly, by loss",
        a_receiver_that_does_not_take: "ends that are not orderly, by loss",
        cut_while_closing: "a link that ends with its connection",
    }
    reasons {
        a_failed_sender_is_no_end_of_the_stream,
        both_ends_say_something,
        a_second_thought,
        a_close_that_is_cut_off: "cuts by itself",
        withdrawn_is_not_all_well,
        dropped_without_closing,
        a_receiver_in_hand,
        in_the_tlsstream_dialect: "tlsstream has no sessions",
    }
    liveness {
        silence_on_a_channel,
        a_silent_peer_is_given_up: "a link that ends with its connection",
        pings_keep_a_link_alive: "counts bytes",
        a_cut_is_noticed: "a link that ends with its connection",
    }
    handshakes {
        byte_by_byte,
        strangers_that_say_nothing: "a stranger's own socket",
        strangers_that_leave: "a stranger's own socket",
        strangers_that_speak_something_else: "a stranger's own socket",
        a_stall_in_the_middle: "counts bytes",
        an_acceptor_that_stalls: "a stranger's own socket",
        an_acceptor_that_hangs_up: "a stranger's own socket",
        strangers_hold_up_nobody: "a stranger's own socket",
        half_open_places: "a stranger's own socket",
        refused_peers_that_stay: "a stranger's own socket",
        errors_that_nobody_accepts: "a stranger's own socket",
        many_peers_at_once: "who misses the last word of a close returns as one more link",
        a_dropped_listener: "without its listener no peer returns",
        a_link_that_nobody_accepts: "without its listener no peer returns",
    }
    resuming {
        handles_survive_cuts: "cuts by itself",
        what_was_under_way_goes_out_again: "cuts by itself",
        the_latest_message_is_the_one_that_goes_out: "cuts by itself",
        messages_expire_without_a_connection: "cuts by itself",
        deliveries_are_held_across_cuts: "cuts by itself",
        a_large_message_goes_on_where_it_was_cut: "cuts by itself",
        a_close_waits_for_the_return: "cuts by itself",
        a_close_goes_on_after_the_return: "cuts by itself",
        a_close_for_which_nobody_returns: "cuts by itself",
        handles_dropped_while_away: "cuts by itself",
    }
    servers {
        as_many_links_as_there_may_be: "links beyond the limit that come back",
        no_more_links_than_there_may_be: "links beyond the limit that come back",
        one_more_gets_in_when_one_ends: "links beyond the limit that come back",
        one_more_gets_in_when_one_is_accepted: "links beyond the limit that come back",
        so_many_from_one_address: "counts connections",
        links_that_are_drained: "cuts by itself",
        links_that_are_not_drained_in_time: "cuts by itself",
        returning_peers_need_no_place: "cuts by itself",
        whose_session_is_gone_needs_a_place: "cuts by itself",
        in_the_tlsstream_dialect: "tlsstream has no sessions",
    }
    returning {
        to_its_own_link: "cuts by itself",
        while_the_old_connection_seems_alive: "cuts by itself",
        to_a_listener_that_was_restarted: "cuts by itself",
        as_another_link_after_a_restart: "cuts by itself",
        too_late: "cuts by itself",
        more_than_there_is_room_for: "cuts by itself",
    }
    borders {
        in_their_place: "cuts by itself",
        on_a_manual_channel: "cuts by itself",
        where_no_message_waits: "cuts by itself",
        in_the_tlsstream_dialect: "cuts by itself",
    }
    single {
        an_opener_whose_peer_was_restarted: "cuts by itself",
        an_opener_that_came_too_late: "cuts by itself",
        an_acceptor_whose_peer_was_restarted: "cuts by itself",
        a_session_that_resumes: "cuts by itself",
        in_the_tlsstream_dialect: "cuts by itself",
    }
    reconnecting {
        to_a_peer_that_is_not_there_yet: "cuts by itself",
        no_longer_than_the_limit: "cuts by itself",
        no_longer_than_the_limit_after_a_loss: "cuts by itself",
        not_where_declarations_do_not_fit: "cuts by itself",
        in_the_tlsstream_dialect: "cuts by itself",
    }
    status {
        of_both_ends: "cuts by itself",
        addresses: "looks at the ends of one connection",
        connect_now_ends_the_pause: "cuts by itself",
    }
    stream {
        sizes: "tlsstream has no sessions",
        closed_by_the_sender: "tlsstream has no sessions",
        closed_by_the_receiver: "tlsstream has no sessions",
        empty_messages_are_refused: "tlsstream has no sessions",
        declarations_that_can_not_be: "tlsstream has no sessions",
        confirmation_withheld: "tlsstream has no sessions",
        a_cut_in_the_middle: "tlsstream has no sessions",
        a_dropped_receiver_closes: "tlsstream has no sessions",
        dialects_that_differ: "tlsstream has no sessions",
    }
};

/// The scenarios that are about security.
static SECURED: &[Scenario] = list! { &[Transport::Tls];
    admission {
        by_name: "cuts by itself",
        without_a_lock: "the setup is its own",
        channels_by_peer: "cuts by itself",
        channels_that_make_no_sense: "the setup is its own",
    }
    security {
        wrong_pin_at_the_client,
        wrong_pin_at_the_server,
        expired,
        not_yet_valid: "what may heal is tried for ever",
        dates_ignored,
        pin_rotation,
        renewed_certificate,
        other_identities,
        plain_server,
        peers_are_known,
        plain_client: "what may heal is tried for ever",
        refused_while_sending: "tlsstream has no sessions",
    }
    rotation {
        with_overlap_while_messages_flow: "cuts by itself",
        a_pin_is_removed: "cuts by itself",
        a_pin_of_a_peer_that_is_away: "cuts by itself",
        at_a_listener: "the setup is its own",
        a_list_of_peers: "the setup is its own",
        in_the_tlsstream_dialect: "tlsstream has no sessions",
    }
    reconnecting {
        not_where_the_peer_refuses: "cuts by itself",
        past_strangers: "cuts by itself",
        past_another_identity: "cuts by itself",
    }
};

/// Every scenario.
pub fn scenarios() -> impl Iterator<Item = &'static Scenario> {
    ANY.iter().chain(SECURED)
}

impl Scenario {
    /// The scenario's name among all, `module::scenario`.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}::{}", self.module, self.name)
    }
}

/// A test of each scenario for each of the pairs, secured and plain.
#[must_use]
pub fn plainly(couples: &[Couple]) -> Vec<Trial> {
    let all = |_: &Scenario| true;
    tests("conformance", couples, all, |name, pair, run| {
        watch_as(name, move || run(&pair));
    })
}

/// A test of each scenario that can bear it, with connections that are cut at random, and one for
/// each pair that says that they are.
#[must_use]
pub fn with_cuts(couples: &[Couple]) -> Vec<Trial> {
    let bears = |scenario: &Scenario| scenario.of_one_connection.is_none();
    let mut trials = tests("cutting", couples, bears, |name, pair, run| {
        let _ = cutting::run(name, pair, run);
    });
    for couple in couples.iter().copied() {
        let name = format!("cutting::connections_are_cut::{}", couple.name());
        trials.push(trial(name, move |name| connections_are_cut(name, couple)));
    }
    trials
}

/// A link that carries more than its cuts are apart is cut as often as it was to be.
fn connections_are_cut(name: &str, couple: Couple) {
    for transport in [Transport::Tls, Transport::Plain] {
        let pair = couple.pair(transport);
        let [cuts, planned] = cutting::run(name, pair, scenarios::pressure::both_ends_full);
        assert!(planned > 0);
        assert_eq!(cuts, planned);
    }
}

fn tests(
    suite: &str,
    couples: &[Couple],
    which: impl Fn(&Scenario) -> bool,
    how: fn(&str, Pair, fn(&Pair)),
) -> Vec<Trial> {
    let mut trials = Vec::new();
    for couple in couples {
        for transport in [Transport::Tls, Transport::Plain] {
            for scenario in scenarios().filter(|scenario| which(scenario)) {
                let path = scenario.path();
                if !scenario.transports.contains(&transport) || couple.cannot(&path).is_some() {
                    continue;
                }
                let between = format!("{}::{}", couple.name(), transport.name());
                let name = format!("{suite}::{between}::{path}");
                let pair = couple.pair(transport);
                let run = scenario.run;
                trials.push(trial(name, move |name| how(name, pair, run)));
            }
        }
    }
    trials
}
