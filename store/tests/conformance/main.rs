//! One suite for both databases: every case runs on a SQLite file and on a PostgreSQL server.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod agents;
mod canaries;
mod devices;
mod durability;
mod failures;
mod fixture;
mod holding;
mod models;
mod people;
mod results;
mod runs;
mod runtimes;
mod schema;
#[path = "../scratch/mod.rs"]
mod scratch;
mod services;
mod world;

/// Makes a test of each case on each database.
macro_rules! conformance {
    ($($module:ident { $($case:ident,)* })*) => {
        mod sqlite {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let fixture = crate::fixture::Fixture::sqlite();
                    crate::$module::$case(fixture.open().await).await;
                }
            )*)*
        }
        mod postgres {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let fixture = crate::fixture::Fixture::postgres().await;
                    crate::$module::$case(fixture.open().await).await;
                }
            )*)*
        }
    };
}

conformance! {
    people {
        the_first_start_makes_a_project_and_the_second_finds_it,
        a_token_is_found_by_its_hash_before_and_after_it_is_revoked,
        only_a_token_in_force_that_is_no_devices_counts_as_a_person,
        a_person_is_known_once_a_token_was_made_for_one_whatever_became_of_it,
        a_token_with_a_taken_secret_is_refused_in_words,
        of_a_hundred_enrolments_exactly_one_succeeds,
        an_enrolment_that_has_expired_lets_nobody_in,
        a_token_belongs_to_the_device_that_came_first,
        the_audit_log_gives_back_what_was_written_newest_first,
        a_reconcilers_lease_has_one_holder_until_it_ends,
    }
    canaries {
        health_checks_come_back_as_they_were_newest_first_each_once,
        only_the_newest_health_checks_of_a_device_are_kept,
    }
    failures {
        the_class_of_a_failure_stands_with_its_attempt,
        a_class_counts_as_what_follows_from_it,
        how_an_agent_died_stands_with_the_attempt_for_rules_that_come_later,
        jobs_that_wait_for_what_is_quarantined_are_found_and_end_with_the_reason,
        failures_of_older_rules_are_found_until_they_are_judged_again,
        what_fails_together_is_quarantined_once_and_an_operator_lifts_it,
    }
    devices {
        a_device_that_returns_keeps_its_id_and_its_name,
        twins_get_numbers_and_stay_apart,
        evidence_that_is_missing_once_is_not_forgotten,
        the_newest_evidence_of_a_device_is_kept_beside_its_profile,
        a_state_changes_only_from_the_state_it_is_in,
        names_are_unique_and_labels_are_replaced,
        a_zero_character_is_replaced_wherever_it_comes_in,
        looking_for_a_device_changes_nothing,
        a_device_never_looks_longer_unseen_than_it_is,
    }
    services {
        a_decision_counts_only_when_it_follows_the_last,
        a_decision_brings_the_devices_state_and_its_log_with_who_made_it,
        of_a_hundred_decisions_at_once_exactly_one_follows_the_last,
        decisions_that_belong_together_are_stored_together_or_not_at_all,
        what_ends_by_itself_is_found_when_its_time_has_come,
        a_reservation_is_found_by_its_token_until_it_ends,
        a_reservation_that_ends_early_gives_its_devices_back,
        a_run_keeps_the_reservation_that_it_brought,
        the_last_job_of_each_device_is_the_one_that_finished_last,
    }
    models {
        a_version_brings_its_variants_its_bindings_and_the_alias_latest,
        a_variant_of_every_format_and_precision_is_kept,
        a_version_whose_files_are_missing_is_refused_whole,
        a_version_can_only_have_a_parent_that_exists,
        an_alias_moves_and_only_to_what_exists,
        only_a_claimed_signature_is_settled,
        a_binding_for_the_dataset_goes_before_the_one_for_any,
        dataset_versions_count_from_one,
        an_artifact_that_is_held_is_never_forgotten,
        an_artifact_that_is_recorded_again_is_young_again,
    }
    runtimes {
        the_newest_package_of_a_track_for_an_abi_is_the_one_that_jobs_get,
        the_same_package_again_is_not_another_and_an_older_one_can_come_back,
        what_is_no_machine_code_serves_every_device,
        a_package_holds_its_files_and_one_without_files_is_refused,
    }
    agents {
        devices_get_the_newest_agent_of_their_abi_and_an_older_one_can_come_back,
        an_agent_build_holds_its_bytes_until_ten_newer_ones_have_come,
        an_agent_build_without_its_bytes_is_refused,
    }
    runs {
        a_run_is_stored_whole_or_not_at_all,
        a_submission_has_one_run_however_often_it_is_stored,
        a_hundred_runs_at_once_are_numbered_without_gaps,
        one_bad_write_does_not_harm_its_neighbours,
        a_run_of_thousands_of_jobs_keeps_their_order,
        pages_of_runs_go_back_in_time,
        counts_tell_every_way_in_which_a_job_can_stand,
        of_a_hundred_claims_exactly_one_succeeds,
        a_job_can_be_done_again_from_its_origin,
        a_claim_names_the_next_attempt_and_the_jobs_own_device,
        entering_a_stage_moves_the_lease_of_the_holder_only,
        a_cancelled_run_ends_what_waits_and_names_what_runs,
        a_job_of_a_cancelled_run_is_not_queued_again,
        a_run_finishes_once_and_only_when_no_job_is_open,
        open_jobs_carry_what_a_new_start_must_know,
        the_last_jobs_of_a_device_and_of_a_model_come_newest_first,
        a_job_is_found_by_its_short_id,
        a_run_is_read_in_parts_that_make_the_whole,
        only_a_job_that_waits_is_given_up_and_it_says_why,
    }
    results {
        a_result_comes_back_as_it_was_sent,
        a_result_that_comes_twice_is_a_duplicate,
        of_a_hundred_equal_results_exactly_one_is_stored,
        a_result_of_an_ended_lease_is_stale_and_changes_nothing,
        a_result_from_another_device_is_stale,
        a_result_of_a_job_that_does_not_exist_is_unknown,
        a_job_that_is_given_back_counts_why,
        a_job_that_costs_agents_their_lives_is_quarantined,
        only_the_holder_gives_a_job_back,
        numbers_survive_to_the_last_bit,
        a_value_that_is_no_number_is_absent_with_its_reason,
        interference_makes_a_row_invalid_and_keeps_it,
        an_attempt_that_is_judged_worse_than_it_says_shows_the_judgement_and_why,
        metrics_of_a_run_are_those_of_the_last_attempts,
    }
}
