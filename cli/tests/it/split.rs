//! Splitting and joining: what each way makes of a stream, however the stream is cut.

use countersign_cli::split::{JoinError, Joiner, MAX_MESSAGE_FLAG, SplitError, Splitter, Way};
use proptest::prelude::*;

const WAYS: [Way; 4] = [Way::Lines, Way::Jpeg, Way::Length, Way::Whole];

/// What became of a stream: its messages, and the error that ended it.
type Outcome = (Vec<Vec<u8>>, Option<SplitError>);

fn split<'a>(way: Way, limit: usize, chunks: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut splitter = Splitter::new(way, limit);
    let mut messages = Vec::new();
    for chunk in chunks {
        let mut input = chunk;
        loop {
            match splitter.next_message(&mut input) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break assert!(input.is_empty(), "bytes were left over"),
                Err(error) => {
                    assert_eq!(splitter.next_message(&mut &b"more"[..]), Err(error.clone()));
                    assert_eq!(splitter.finish(), Err(error.clone()));
                    return (messages, Some(error));
                }
            }
        }
    }
    match splitter.finish() {
        Ok(last) => {
            messages.extend(last);
            (messages, None)
        }
        Err(error) => (messages, Some(error)),
    }
}

/// Splits whole, byte by byte, and in chunks of a few sizes: all must agree.
fn split_every_way(way: Way, limit: usize, stream: &[u8]) -> Outcome {
    let outcome = split(way, limit, [stream]);
    for size in [1, 2, 3, 7, 64] {
        assert_eq!(
            split(way, limit, stream.chunks(size)),
            outcome,
            "{way:?} in chunks of {size}"
        );
    }
    outcome
}

#[track_caller]
fn good(way: Way, stream: &[u8], messages: &[&[u8]]) {
    let (found, error) = split_every_way(way, 1000, stream);
    assert_eq!(error, None);
    assert_eq!(found, messages);
}

#[track_caller]
fn bad(way: Way, limit: usize, stream: &[u8], messages: usize, error: SplitError) {
    let (found, found_error) = split_every_way(way, limit, stream);
    assert_eq!(found_error, Some(error));
    assert_eq!(found.len(), messages);
}

#[test]
fn lines_end_with_a_newline_only() {
    good(Way::Lines, b"", &[]);
    good(Way::Lines, b"\n", &[b"\n"]);
    good(Way::Lines, b"a\nbc\n", &[b"a\n", b"bc\n"]);
    good(Way::Lines, b"a\n\n\nb", &[b"a\n", b"\n", b"\n", b"b"]);
    good(Way::Lines, b"a\r\nb\rc\r", &[b"a\r\n", b"b\rc\r"]);
    good(Way::Lines, b"a\0\n\0", &[b"a\0\n", b"\0"]);
}

#[test]
fn a_line_is_bounded_with_its_newline() {
    let (messages, error) = split_every_way(Way::Lines, 4, b"abc\ndef\nghij");
    assert_eq!((messages.len(), error), (3, None));
    bad(
        Way::Lines,
        4,
        b"abc\ndefg\n",
        1,
        SplitError::TooLarge {
            offset: 4,
            limit: 4,
        },
    );
    bad(
        Way::Lines,
        1,
        b"\n\nab",
        2,
        SplitError::TooLarge {
            offset: 2,
            limit: 1,
        },
    );
}

#[test]
fn lengths_go_before_messages() {
    good(Way::Length, b"", &[]);
    good(
        Way::Length,
        b"\0\0\0\0\0\0\0\x02ab\0\0\0\0",
        &[b"", b"ab", b""],
    );
    let truncated = |offset, end, missing| SplitError::Truncated {
        offset,
        end,
        missing,
    };
    let incomplete = "its length of four bytes is incomplete";
    bad(
        Way::Length,
        9,
        b"\0\0\0\x01a\0\0",
        1,
        truncated(5, 7, incomplete),
    );
    let fewer = "fewer bytes than its length announces";
    bad(
        Way::Length,
        9,
        b"\0\0\0\x01a\0\0\0\x03ab",
        1,
        truncated(5, 11, fewer),
    );
    bad(Way::Length, 9, b"\0\0\0\x03", 0, truncated(0, 4, fewer));
}

#[test]
fn a_length_above_the_limit_is_refused_before_its_bytes_come() {
    let error = |announced| SplitError::LengthTooLarge {
        offset: 5,
        announced,
        limit: 2,
    };
    bad(Way::Length, 2, b"\0\0\0\x01a\0\0\0\x03", 1, error(3));
    bad(
        Way::Length,
        2,
        b"\0\0\0\x01a\xff\xff\xff\xff",
        1,
        error(u32::MAX),
    );
}

#[test]
fn a_whole_stream_is_one_message() {
    good(Way::Whole, b"", &[b""]);
    good(Way::Whole, b"a\nb", &[b"a\nb"]);
    bad(
        Way::Whole,
        3,
        b"abcd",
        0,
        SplitError::TooLarge {
            offset: 0,
            limit: 3,
        },
    );
}

#[test]
fn errors_name_the_limit_and_the_flag_that_raises_it() {
    for error in [
        SplitError::TooLarge {
            offset: 7,
            limit: 1234,
        },
        SplitError::LengthTooLarge {
            offset: 7,
            announced: 99_999,
            limit: 1234,
        },
    ] {
        let text = error.to_string();
        assert!(
            text.contains("1234") && text.contains(MAX_MESSAGE_FLAG),
            "{text}"
        );
    }
}

/// A small picture with everything that could fool a splitter: a preview in APP1, end markers
/// inside a segment, stuffed bytes, fill bytes, restarts and a second scan.
fn picture() -> Vec<u8> {
    [
        &b"\xff\xd8"[..],
        b"\xff\xe1\x00\x0eEx\xff\xd8\xff\xda\x00\x02\x01\xff\xd9\xff",
        b"\xff\xff\xff\xdb\x00\x04\xff\xd9",
        b"\xff\x01",
        b"\xff\xda\x00\x03\x01scan\xff\x00\xff\xd0\xff\xd7more\xff\xff\x00",
        b"\xff\xff\xda\x00\x02\xff\x00",
        b"\xff\xdc\x00\x02",
        b"\xff\xff\xd9",
    ]
    .concat()
}

#[test]
fn pictures_end_on_their_own_level() {
    let picture = picture();
    let least: &[u8] = b"\xff\xd8\xff\xd9";
    good(Way::Jpeg, b"", &[]);
    good(Way::Jpeg, &picture, &[&picture]);
    good(
        Way::Jpeg,
        &[&picture, least, &picture].concat(),
        &[&picture, least, &picture],
    );
}

#[test]
fn a_picture_is_bounded() {
    let picture = picture();
    let limit = picture.len();
    let (messages, error) = split_every_way(Way::Jpeg, limit, &picture);
    assert_eq!((messages.len(), error), (1, None));
    let error = SplitError::TooLarge {
        offset: 4,
        limit: limit - 1,
    };
    bad(
        Way::Jpeg,
        limit - 1,
        &[b"\xff\xd8\xff\xd9", &picture[..]].concat(),
        1,
        error,
    );
}

#[test]
fn a_picture_that_is_cut_off_is_an_error_wherever_it_is_cut() {
    let picture = picture();
    // A single 0xff at the end may as well be padding.
    for cut in 2..picture.len() {
        let stream = [&picture, &picture[..cut]].concat();
        let missing = "a JPEG picture without its end (0xff 0xd9)";
        let offset = picture.len() as u64;
        let error = SplitError::Truncated {
            offset,
            end: stream.len() as u64,
            missing,
        };
        bad(Way::Jpeg, 1000, &stream, 1, error);
    }
}

#[test]
fn what_is_neither_picture_nor_padding_nor_a_head_is_an_error_with_its_place() {
    let table: [(&[u8], u64, u8); 9] = [
        (b"garbage", 0, b'g'),
        (b"\xff\xd9", 1, 0xd9),
        (b"\xff\xd8\xff\xd9\x01", 4, 1),
        (b"\xff\xd8\xff\xd9\0\r\n\xff\xff\xd0", 9, 0xd0),
        (b"\xff\xd8\xff\xd9-\r\n", 5, b'\r'),
        (b"\xff\xd8\xff\xd9--b\0", 7, 0),
        (b"\xff\xd8\xff\xd9--b\r\nno name\r\n", 11, b' '),
        (b"\xff\xd8\xff\xd9--b\r\nname\r\n", 13, b'\r'),
        (b"\xff\xd8\xff\xd9--b\r\n: value\r\n", 9, b':'),
    ];
    for (stream, offset, found) in table {
        let pictures = usize::from(offset >= 4);
        bad(
            Way::Jpeg,
            1000,
            stream,
            pictures,
            SplitError::NotAPicture { offset, found },
        );
    }
}

/// What cameras write between pictures, one after another.
const BETWEEN: [&[u8]; 14] = [
    b"\0",
    b"\0\0\0",
    b"\xff",
    b"\xff\xff",
    b"\n",
    b"\r\n",
    b" \t",
    // As mjpg-streamer writes it.
    b"\r\n--boundarydonotcross \r\nContent-Type: image/jpeg\r\nContent-Length: 1234\r\n\
      X-Timestamp: 12.345678\r\n\r\n",
    // As ffmpeg does.
    b"--ffmpeg\r\nContent-type: image/jpeg\r\nContent-length: 5679\r\n\r\n",
    b"--b\nContent-Type:image/jpeg\n\n",
    // Without an empty line, without a head, with a value that goes on in the next line.
    b"--b\r\nContent-Type: image/jpeg\r\n",
    b"--b\r\n",
    b"--b\r\nX-Camera: one\r\n two\r\n\r\n",
    // The end of one stream before another.
    b"--b--\r\n\r\n",
];

#[test]
fn what_cameras_write_between_pictures_is_skipped() {
    let picture = picture();
    let least: &[u8] = b"\xff\xd8\xff\xd9";
    for between in BETWEEN {
        let stream = [between, &picture, between, least, between].concat();
        good(Way::Jpeg, &stream, &[&picture, least]);
    }
    // A stream that breaks off in the middle of a head has all its pictures.
    let head = BETWEEN[7];
    for end in 0..head.len() {
        good(Way::Jpeg, &[&picture, &head[..end]].concat(), &[&picture]);
    }
}

#[test]
fn a_stream_of_padding_is_no_stream_of_pictures() {
    for stream in [
        &b"\0\0\n"[..],
        b"\xff",
        b"--b\r\nContent-Type: text/plain\r\n\r\n",
    ] {
        let end = stream.len() as u64;
        bad(Way::Jpeg, 1000, stream, 0, SplitError::NoPicture { end });
    }
}

#[test]
fn so_much_is_skipped_and_no_more() {
    const LIMIT: usize = 1 << 20;
    let least: &[u8] = b"\xff\xd8\xff\xd9";
    for fill in [b"\0", b"\n", b"\xff"] {
        let stream = [least, &fill.repeat(LIMIT), least].concat();
        let (pictures, error) = split(Way::Jpeg, 1000, stream.chunks(4096));
        assert_eq!((pictures.len(), error), (2, None));
        let stream = [least, &fill.repeat(LIMIT + 1), least].concat();
        for size in [1, 4096, stream.len()] {
            let (pictures, error) = split(Way::Jpeg, 1000, stream.chunks(size));
            let expected = SplitError::NoPictureFollows {
                offset: 4,
                limit: LIMIT as u64,
            };
            assert_eq!((pictures.len(), error), (1, Some(expected)));
        }
    }
}

#[test]
fn what_no_picture_has_is_an_error_with_its_place() {
    let table: [(&[u8], u64, u8, &'static str); 7] = [
        (b"\xff\xd8x", 2, b'x', "a marker (0xff) belongs"),
        (b"\xff\xd8\xff\0", 3, 0, "the code of a marker belongs"),
        (b"\xff\xd8\xff\xbf", 3, 0xbf, "the code of a marker belongs"),
        (
            b"\xff\xd8\xff\xd3",
            3,
            0xd3,
            "no restart marker can be, outside a scan",
        ),
        (
            b"\xff\xd8\xff\xd8",
            3,
            0xd8,
            "a picture begins before the last one ended",
        ),
        (
            b"\xff\xd8\xff\xe0\0\x01",
            5,
            1,
            "a segment length of at least 2 belongs",
        ),
        (
            b"\xff\xd8\xff\xda\0\x02x\xff\xd8",
            8,
            0xd8,
            "a picture begins before the last one ended",
        ),
    ];
    for (stream, offset, found, expected) in table {
        bad(
            Way::Jpeg,
            1000,
            stream,
            0,
            SplitError::BadPicture {
                offset,
                found,
                expected,
            },
        );
    }
}

#[test]
fn the_sample_video_is_132_pictures_and_nothing_else() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/bunny-320x180.mjpeg");
    let video = std::fs::read(path).expect("the sample video is part of the repository");
    let (pictures, error) = split_every_way(Way::Jpeg, 64 * 1024, &video);
    assert_eq!(error, None);
    assert_eq!(pictures.len(), 132);
    assert_eq!(join(Way::Jpeg, &pictures), Ok(video));
}

fn join(way: Way, messages: &[Vec<u8>]) -> Result<Vec<u8>, JoinError> {
    let mut joiner = Joiner::new(way);
    let mut stream = Vec::new();
    for message in messages {
        joiner.join(message, &mut stream)?;
    }
    Ok(stream)
}

#[test]
fn joiners_put_around_a_message_what_its_way_needs() {
    let messages = [b"ab".to_vec(), Vec::new()];
    for way in [Way::Bytes, Way::Lines, Way::Jpeg] {
        assert_eq!(join(way, &messages), Ok(b"ab".to_vec()));
    }
    assert_eq!(
        join(Way::Length, &messages),
        Ok(b"\0\0\0\x02ab\0\0\0\0".to_vec())
    );
    assert_eq!(join(Way::Whole, &messages[..1]), Ok(b"ab".to_vec()));
    assert_eq!(join(Way::Whole, &messages), Err(JoinError::SecondMessage));
}

#[test]
fn a_length_prefix_holds_no_more_than_four_bytes() {
    let mut joiner = Joiner::new(Way::Length);
    assert_eq!(joiner.head(u64::from(u32::MAX)), Ok(vec![0xff; 4]));
    let length = u64::from(u32::MAX) + 1;
    assert_eq!(joiner.head(length), Err(JoinError::TooLong { length }));
}

/// Bytes among which the ways find something: markers, newlines and small lengths are frequent.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        4 => Just(0u8),
        4 => Just(0xff),
        2 => prop::sample::select(b"\n\r\x01\x02\x05\xd8\xd9\xda\xd0\xe1".to_vec()),
        1 => any::<u8>(),
    ];
    let piece = prop_oneof![
        3 => prop::collection::vec(byte, 1..20),
        2 => Just(picture()),
        1 => Just(b"\xff\xd8\xff\xd9".to_vec()),
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

/// What cameras write between pictures, in any order.
fn between() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop::collection::vec(prop::sample::select(BETWEEN.to_vec()), 0..5);
    // A head without its empty line is followed by a picture or another head.
    pieces.prop_map(|pieces| {
        let mut between = Vec::new();
        for piece in pieces {
            let padding = !piece.starts_with(b"--");
            if padding && between.ends_with(b"\n") {
                between.extend_from_slice(b"\r\n");
            }
            between.extend_from_slice(piece);
        }
        between
    })
}

/// A picture with segments and scans that hold anything.
fn anything() -> impl Strategy<Value = Vec<u8>> {
    let byte =
        prop_oneof![2 => any::<u8>(), 1 => prop::sample::select(b"\xff\xd8\xd9\0-\n".to_vec())];
    let content = prop::collection::vec(byte, 0..60);
    let part = (any::<bool>(), 0usize..3, content).prop_map(|(scan, fill, content)| {
        let code = if scan { 0xda } else { 0xe1 };
        let mut part = vec![0xff; 1 + fill];
        part.push(code);
        let length = u16::try_from(content.len() + 2).expect("it is short");
        part.extend(length.to_be_bytes());
        part.extend_from_slice(&content);
        if scan {
            for byte in content {
                part.push(byte);
                if byte == 0xff {
                    part.push(0);
                }
            }
            part.extend(b"\xff\xd0");
        }
        part
    });
    prop::collection::vec(part, 0..6)
        .prop_map(|parts| [&b"\xff\xd8"[..], &parts.concat(), b"\xff\xd9"].concat())
}

/// `stream` cut into chunks of the sizes given, again and again.
fn cut<'a>(mut stream: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let mut chunks = Vec::new();
    for &size in sizes.iter().cycle() {
        let (chunk, rest) = stream.split_at(size.min(stream.len()));
        chunks.push(chunk);
        stream = rest;
        if stream.is_empty() {
            break;
        }
    }
    chunks
}

proptest! {
    #[test]
    fn chunks_make_no_difference(
        stream in stream(),
        sizes in prop::collection::vec(1usize..40, 1..6),
        limit in prop_oneof![Just(1000usize), 0usize..100],
    ) {
        for way in WAYS {
            let whole = split(way, limit, [&stream[..]]);
            prop_assert_eq!(&split(way, limit, stream.chunks(1)), &whole);
            prop_assert_eq!(&split(way, limit, cut(&stream, &sizes)), &whole);
            prop_assert!(whole.0.iter().all(|message| message.len() <= limit));
        }
    }

    #[test]
    fn any_messages_come_back_from_lengths(
        messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..8),
        sizes in prop::collection::vec(1usize..40, 1..6),
    ) {
        let stream = join(Way::Length, &messages).expect("they are short");
        prop_assert_eq!(split(Way::Length, 50, cut(&stream, &sizes)), (messages, None));
    }

    #[test]
    fn lines_come_back_as_they_went_in(
        stream in stream(),
        sizes in prop::collection::vec(1usize..40, 1..6),
    ) {
        let (messages, error) = split(Way::Lines, 1000, cut(&stream, &sizes));
        prop_assert_eq!(error, None);
        prop_assert_eq!(join(Way::Lines, &messages), Ok(stream));
    }

    #[test]
    fn bytes_pass_through_as_they_are(
        stream in prop::collection::vec(any::<u8>(), 0..300),
        sizes in prop::collection::vec(1usize..40, 1..6),
        limit in 1usize..50,
    ) {
        let (messages, error) = split(Way::Bytes, limit, cut(&stream, &sizes));
        prop_assert_eq!(error, None);
        prop_assert!(messages.iter().all(|message| (1..=limit).contains(&message.len())));
        prop_assert_eq!(join(Way::Bytes, &messages), Ok(stream));
    }

    #[test]
    fn pictures_come_out_whatever_cameras_write_between_them(
        pictures in prop::collection::vec((between(), anything()), 1..6),
        last in between(),
        sizes in prop::collection::vec(1usize..40, 1..6),
    ) {
        let mut stream = Vec::new();
        for (between, picture) in &pictures {
            stream.extend_from_slice(between);
            stream.extend_from_slice(picture);
        }
        stream.extend(last);
        let pictures: Vec<_> = pictures.into_iter().map(|(_, picture)| picture).collect();
        prop_assert_eq!(split(Way::Jpeg, 10_000, cut(&stream, &sizes)), (pictures, None));
    }
}
