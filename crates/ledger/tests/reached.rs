//! Every rejection is what became of a transaction in one of the tables: not that a test names it (`spec.rs`), but that a ledger
//! gave it.

use ledger::reject::Rejection;

use crate::{
    authorizations, config, delegation, gates, governance, horizon, queue, registry, rules, standing, tiers,
    trade, trust, world::bench::reached,
};

#[test]
#[ignore = "twelve seconds: the tables once more, on one thread"]
fn every_rejection_is_given_by_a_ledger() {
    let tables: &[fn()] = &[
        authorizations::rules_of_authorisations,
        authorizations::rules_of_what_is_recorded_under_commitments,
        authorizations::what_holds_under_commitments,
        config::rejections_of_a_setting_in_their_order,
        config::the_ledger_tightens_and_an_operators_command_loosens_once,
        config::reports_are_taken_over_are_late_or_are_a_conflict,
        config::each_parameter_goes_its_safe_way,
        delegation::delegation_rules,
        delegation::act_rules,
        delegation::outcomes,
        delegation::of_two_the_first_recorded_stands,
        delegation::what_a_revoked_delegate_did_before,
        gates::a_transfer_needs_the_trust_of_both_packs,
        gates::nobody_is_shut_out_of_trade_by_a_first_word,
        gates::a_pairing_needs_the_trust_that_its_sides_ask_for,
        governance::every_rejection_in_its_order,
        governance::a_change_holds_from_its_height_on_and_not_before,
        governance::a_manufacturer_renews_its_own_root_and_no_other,
        governance::an_account_comes_once_and_a_withdrawn_key_never_again,
        governance::rules_that_a_build_does_not_have_stop_it,
        horizon::rules_of_an_lcts_status,
        horizon::rules_of_contexts,
        horizon::a_pack_counter_signs_what_its_modules_say_of_energy,
        queue::rules_of_queues,
        queue::tries_and_waits,
        queue::what_comes_about_is_completed_and_what_is_late_expires,
        registry::rules_of_moves,
        registry::the_table_of_moves,
        registry::nobody_lifts_the_suspension_of_another,
        registry::every_move_is_kept_and_the_end_takes_everything_along,
        registry::what_a_state_allows,
        registry::where_the_chain_asks_for_it_a_component_waits_to_be_admitted,
        registry::rules_of_versions,
        rules::envelope,
        rules::an_operator_passes_on_what_devices_sign_and_nothing_else,
        rules::registration_rules,
        rules::lct_rules,
        rules::a_better_binding_takes_the_place_of_b0,
        rules::binding_rules,
        rules::pairing_rules,
        rules::statement_signer_rules,
        rules::telemetry_rules,
        rules::energy_rules,
        rules::audit_rules,
        standing::report_rules,
        standing::a_witness_belongs_to_another_owner,
        tiers::rebinding_rules,
        tiers::consent_rules,
        tiers::factory_rules,
        tiers::ownership_rules,
        tiers::relation_rules,
        tiers::witness_rules,
        trade::what_is_not_delivered_in_time_is_free_again,
        trade::two_packs_are_made_equally_full,
        trade::what_is_locked_stays,
        trade::order_rules,
        trade::receipt_rules,
        trade::offers_are_filled_in_order_and_what_returns_is_offered_again,
        trade::offer_rules,
        trade::what_is_owed_comes_from_what_was_recorded,
        trade::a_cycle_is_settled_with_whose_it_was,
        trade::settlement_rules,
        trade::objections_hold_a_settlement_up,
        trade::a_binding_that_is_withdrawn_takes_its_transfers_along_when_their_time_is_over,
        trust::a_side_withdraws_what_its_key_is_for,
        trust::an_account_withdraws_what_its_role_allows,
        trust::a_withdrawn_component_is_out_of_everything,
        trust::a_component_has_room_for_so_many_bindings_and_a_binding_for_so_many_pairings,
        trust::renewal_rules,
        trust::use_rules,
        trust::modification_rules,
    ];
    for table in tables {
        table();
    }
    // What other tests gave is on other threads.
    let given = reached();
    let missing: Vec<_> = Rejection::ALL.iter().filter(|rejection| !given.contains(rejection)).collect();
    assert!(missing.is_empty(), "never given: {missing:?}");
    println!("{} rejections were given", given.len());
}
