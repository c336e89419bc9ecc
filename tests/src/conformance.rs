//! Makes tests of scenarios.

/// Makes a module with a test of every scenario for one pair of backends, secured and plain:
/// `conformance!(name, client, server)`.
#[macro_export]
macro_rules! conformance {
    ($name:ident, $client:expr, $server:expr) => {
        mod $name {
            mod tls {
                const PAIR: $crate::Pair = $crate::Pair {
                    client: &$client,
                    server: &$server,
                    transport: $crate::Transport::Tls,
                };
                $crate::each_scenario!(PAIR);
                $crate::each_tls_scenario!(PAIR);
            }
            mod plain {
                const PAIR: $crate::Pair = $crate::Pair {
                    client: &$client,
                    server: &$server,
                    transport: $crate::Transport::Plain,
                };
                $crate::each_scenario!(PAIR);
            }
        }
    };
}

/// One test for each scenario of a list.
#[doc(hidden)]
#[macro_export]
macro_rules! scenario_tests {
    ($pair:ident; $($module:ident { $($scenario:ident,)* })*) => {
        $(
            mod $module {
                use super::$pair;
                $(
                    #[test]
                    fn $scenario() {
                        $crate::watch(|| $crate::scenarios::$module::$scenario(&$pair));
                    }
                )*
            }
        )*
    };
}

/// A test of each scenario that does not care about security.
#[doc(hidden)]
#[macro_export]
macro_rules! each_scenario {
    ($pair:ident) => {
        $crate::scenario_tests! { $pair;
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
                unknown_after_a_cut,
                the_rest_before_the_error,
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
                an_urgent_message_overtakes,
                a_full_channel_holds_up_no_other,
                a_batch_counts_its_verdicts,
                a_batch_stops_at_what_can_not_be_sent,
                senders_in_many_threads,
            }
            closing {
                drain,
                idle,
                after_idling,
                the_rest_then_none,
                busy_from_the_client,
                busy_from_the_server,
                busy_from_both,
                dropping_all_handles_closes,
                dropping_the_receiving_end,
                receipts_outlive_links,
                a_peer_that_does_not_answer,
                a_receiver_that_does_not_take,
                cut_while_closing,
            }
            liveness {
                silence_on_a_channel,
                a_silent_peer_is_given_up,
                pings_keep_a_link_alive,
                a_cut_is_noticed,
            }
            handshakes {
                strangers_that_say_nothing,
                strangers_that_leave,
                strangers_that_speak_something_else,
                a_stall_in_the_middle,
                an_acceptor_that_stalls,
                an_acceptor_that_hangs_up,
                byte_by_byte,
                strangers_hold_up_nobody,
                half_open_places,
                refused_peers_that_stay,
                errors_that_nobody_accepts,
                many_peers_at_once,
                a_dropped_listener,
                a_link_that_nobody_accepts,
            }
            resuming {
                handles_survive_cuts,
            }
            stream {
                sizes,
                closed_by_the_sender,
                closed_by_the_receiver,
                empty_messages_are_refused,
                declarations_that_can_not_be,
                confirmation_withheld,
                a_cut_in_the_middle,
                a_dropped_receiver_closes,
                dialects_that_differ,
            }
        }
    };
}

/// A test of each scenario that is about security.
#[doc(hidden)]
#[macro_export]
macro_rules! each_tls_scenario {
    ($pair:ident) => {
        $crate::scenario_tests! { $pair;
            security {
                wrong_pin_at_the_client,
                wrong_pin_at_the_server,
                expired,
                not_yet_valid,
                dates_ignored,
                pin_rotation,
                renewed_certificate,
                other_identities,
                plain_client,
                plain_server,
                refused_while_sending,
                peers_are_known,
            }
        }
    };
}
