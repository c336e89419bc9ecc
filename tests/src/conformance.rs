//! Makes tests of scenarios.
//!
//! Every scenario stands in exactly one list. Those of [`each_scenario`](crate::each_scenario) and
//! [`each_tls_scenario`](crate::each_tls_scenario) run twice: as they are, with links that end with
//! their connections, and with lasting links whose connections are [cut at
//! random](crate::cutting). Those of
//! [`each_scenario_of_one_connection`](crate::each_scenario_of_one_connection) and
//! [`each_tls_scenario_of_one_connection`](crate::each_tls_scenario_of_one_connection) can't bear
//! that, each for the reason that stands beside it.

use crate::{Pair, cutting, watch};

/// Makes a module with a test of every scenario for one pair of backends, secured and plain:
/// `conformance!(name, client, server)`.
#[macro_export]
macro_rules! conformance {
    ($name:ident, $client:expr, $server:expr) => {
        mod $name {
            mod tls {
                $crate::pair!($client, $server, $crate::Transport::Tls);
                $crate::each_scenario!(plainly);
                $crate::each_tls_scenario!(plainly);
                mod one_connection {
                    use super::PAIR;
                    $crate::each_scenario_of_one_connection!(plainly);
                }
                mod one_secured_connection {
                    use super::PAIR;
                    $crate::each_tls_scenario_of_one_connection!(plainly);
                }
            }
            mod plain {
                $crate::pair!($client, $server, $crate::Transport::Plain);
                $crate::each_scenario!(plainly);
                mod one_connection {
                    use super::PAIR;
                    $crate::each_scenario_of_one_connection!(plainly);
                }
            }
        }
    };
}

/// The same, with connections that are cut at random.
#[macro_export]
macro_rules! conformance_with_cuts {
    ($name:ident, $client:expr, $server:expr) => {
        mod $name {
            mod tls {
                $crate::pair!($client, $server, $crate::Transport::Tls);
                $crate::each_scenario!(with_cuts);
                $crate::each_tls_scenario!(with_cuts);
            }
            mod plain {
                $crate::pair!($client, $server, $crate::Transport::Plain);
                $crate::each_scenario!(with_cuts);
            }
        }
    };
}

/// What the tests of a module run on.
#[doc(hidden)]
#[macro_export]
macro_rules! pair {
    ($client:expr, $server:expr, $transport:expr) => {
        const PAIR: $crate::Pair = $crate::Pair {
            client: &$client,
            server: &$server,
            transport: $transport,
        };
    };
}

/// One test for each scenario of a list.
#[doc(hidden)]
#[macro_export]
macro_rules! scenario_tests {
    ($how:ident; $($module:ident { $($scenario:ident $(: $why:literal)?,)* })*) => {
        $(
            mod $module {
                use super::PAIR;
                $(
                    #[test]
                    fn $scenario() {
                        $crate::conformance::$how(
                            concat!(module_path!(), "::", stringify!($scenario)),
                            PAIR,
                            $crate::scenarios::$module::$scenario,
                        );
                    }
                )*
            }
        )*
    };
}

/// Runs a scenario as it is.
pub fn plainly(_name: &str, pair: Pair, scenario: fn(&Pair)) {
    watch(move || scenario(&pair));
}

/// Runs a scenario with connections that are cut at random.
pub fn with_cuts(name: &str, pair: Pair, scenario: fn(&Pair)) {
    let _ = cutting::run(name, pair, scenario);
}

/// A test of each scenario that does not care about security, nor about cuts.
#[doc(hidden)]
#[macro_export]
macro_rules! each_scenario {
    ($how:ident) => {
        $crate::scenario_tests! { $how;
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
                a_batch_stops_at_what_can_not_be_sent,
                senders_in_many_threads,
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
            }
            liveness {
                silence_on_a_channel,
            }
            handshakes {
                byte_by_byte,
            }
        }
    };
}

/// A test of each scenario that can't bear that its connections are cut, and why.
#[doc(hidden)]
#[macro_export]
macro_rules! each_scenario_of_one_connection {
    ($how:ident) => {
        $crate::scenario_tests! { $how;
            verdicts {
                unknown_after_a_cut: "a link that ends with its connection",
                the_rest_before_the_error: "a link that ends with its connection",
            }
            channels {
                an_urgent_message_overtakes: "counts bytes",
            }
            closing {
                after_idling: "a time limit that a return may take longer than; and tlsstream",
                receipts_outlive_links: "a link that ends with its connection",
                a_peer_that_does_not_answer: "ends that are not orderly, by loss",
                a_receiver_that_does_not_take: "ends that are not orderly, by loss",
                cut_while_closing: "a link that ends with its connection",
            }
            liveness {
                a_silent_peer_is_given_up: "a link that ends with its connection",
                pings_keep_a_link_alive: "counts bytes",
                a_cut_is_noticed: "a link that ends with its connection",
            }
            handshakes {
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
            returning {
                to_its_own_link: "cuts by itself",
                while_the_old_connection_seems_alive: "cuts by itself",
                to_a_listener_that_was_restarted: "cuts by itself",
                as_another_link_after_a_restart: "cuts by itself",
                too_late: "cuts by itself",
                more_than_there_is_room_for: "cuts by itself",
            }
            reconnecting {
                to_a_peer_that_is_not_there_yet: "cuts by itself",
                no_longer_than_the_limit: "cuts by itself",
                no_longer_than_the_limit_after_a_loss: "cuts by itself",
                not_where_declarations_do_not_fit: "cuts by itself",
                in_the_tlsstream_dialect: "cuts by itself",
            }
            servers {
                as_many_links_as_there_may_be: "links beyond the limit that come back",
                no_more_links_than_there_may_be: "links beyond the limit that come back",
                one_more_gets_in_when_one_ends: "links beyond the limit that come back",
                returning_peers_need_no_place: "cuts by itself",
                whose_session_is_gone_needs_a_place: "cuts by itself",
                in_the_tlsstream_dialect: "tlsstream has no sessions",
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
        }
    };
}

/// A test of each scenario that is about security, and does not care about cuts.
#[doc(hidden)]
#[macro_export]
macro_rules! each_tls_scenario {
    ($how:ident) => {
        $crate::scenario_tests! { $how;
            security {
                wrong_pin_at_the_client,
                wrong_pin_at_the_server,
                expired,
                dates_ignored,
                pin_rotation,
                renewed_certificate,
                other_identities,
                plain_server,
                peers_are_known,
            }
        }
    };
}

/// A test of each scenario that is about security and can't bear that its connections are cut, and
/// why.
#[doc(hidden)]
#[macro_export]
macro_rules! each_tls_scenario_of_one_connection {
    ($how:ident) => {
        $crate::scenario_tests! { $how;
            security {
                not_yet_valid: "what may heal is tried for ever",
                plain_client: "what may heal is tried for ever",
                refused_while_sending: "tlsstream has no sessions",
            }
            reconnecting {
                not_where_pins_do_not_match: "cuts by itself",
            }
        }
    };
}
