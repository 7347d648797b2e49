//! One suite of tests for the logs on JetStream and in memory: both have the properties that Waybill relies on.

#![expect(clippy::unwrap_used, reason = "a panic shows where a test failed")]

mod buckets;
mod compliance;
mod given;
mod jetstream;

use given::Log;
use waybill_event_log::memory::MemoryLog;
use waybill_schema::Partitions;
use waybill_test_kit::NatsServer;

/// Generates the tests of the suite for each log.
macro_rules! suite {
    ($($name:ident),* $(,)?) => {
        mod on_memory {
            $(
                #[tokio::test]
                async fn $name() {
                    let log = super::MemoryLog::new(super::Partitions::new(4).unwrap());
                    super::compliance::$name(&super::Log::new(log)).await;
                }
            )*
        }

        mod on_jetstream {
            $(
                #[tokio::test]
                async fn $name() {
                    let server = super::NatsServer::start().await;
                    let log = server.log(4).await;
                    super::compliance::$name(&super::Log::new(log)).await;
                }
            )*
        }
    };
}

suite!(
    an_event_is_read_as_it_was_appended,
    an_expectation_that_does_not_hold_is_a_conflict,
    expectations_are_per_subject,
    of_many_appends_with_one_expectation_one_goes_through,
    the_same_message_id_is_one_event,
    a_lost_acknowledgement_is_looked_up,
    an_error_for_an_event_that_was_stored_is_looked_up,
    a_dropped_append_is_repeated,
    a_lost_acknowledgement_with_a_rival_is_a_conflict,
    a_refusal_is_repeated_and_then_passed_on,
    a_fact_survives_lost_acknowledgements,
    pages_are_in_order_and_say_whether_there_is_more,
    events_that_lie_far_apart_are_read_in_order,
    an_event_that_is_not_there_any_more_is_noticed,
    a_message_is_found_at_its_position,
    a_subscription_gets_what_is_there_and_what_comes,
    the_head_is_the_last_event,
);
