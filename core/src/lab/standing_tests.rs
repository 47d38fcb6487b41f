//! One sentence of behaviour each.

use proptest::prelude::*;

use super::*;

const NOW: Timestamp = Timestamp::from_micros(1_000_000_000);

fn after(service: &Service, orders: &[Order]) -> Service {
    orders.iter().fold(service.clone(), |service, order| service.after(order, NOW).unwrap())
}

fn sick() -> Order {
    Order::Sick { reason: "lost 2 jobs in a row".to_owned() }
}

fn of(n: u8) -> ReservationId {
    ReservationId::new(NOW, [n; 10])
}

fn reserve(n: u8) -> Order {
    Order::Reserve { reservation: of(n), by: "li".to_owned(), length: Duration::from_hours(2) }
}

fn hold(length: Option<Duration>) -> Order {
    Order::Hold { by: "li".to_owned(), reason: "its camera".to_owned(), length }
}

fn quarantine(length: Option<Duration>) -> Order {
    Order::Quarantine { reason: "smells".to_owned(), length }
}

fn serves(service: &Service, n: u8) -> bool {
    service.admits().job(Some(of(n)))
}

#[test]
fn each_quarantine_without_a_healthy_check_between_is_twice_as_long_and_the_last_waits_for_a_person() {
    let mut service = Service::default();
    let mut lengths = Vec::new();
    for _ in 0..MOST_STRIKES {
        service = after(&service, &[sick()]);
        let until = service.due().unwrap();
        lengths.push(until.since(NOW));
        service = service.after(&Order::Tick, until).unwrap();
        assert_eq!(service.standing, Standing::InService, "probation");
    }
    assert_eq!(lengths[..3], [10, 20, 40].map(Duration::from_mins));
    assert!(lengths.iter().all(|&length| length <= LONGEST_PROBATION));
    let last = after(&service, &[sick()]);
    assert_eq!(last.due(), None, "a person has to look");
    assert_eq!(after(&after(&service, &[Order::Healthy]), &[sick()]).due(), Some(NOW.plus(FIRST_PROBATION)));
    assert_eq!(after(&last, &[Order::Release]), Service::default());
}

#[test]
fn a_quarantine_by_hand_ends_by_hand_or_when_the_hand_has_said() {
    let by_hand = after(&Service::default(), &[quarantine(None)]);
    let much_later = NOW.plus(LONGEST_PROBATION * 100);
    assert_eq!(by_hand.after(&Order::Tick, much_later).unwrap(), by_hand);
    assert_eq!(after(&by_hand, &[Order::Healthy, sick()]), by_hand);
    assert_eq!(after(&by_hand, &[Order::Release]).admits(), Admits::Everybody);
    let for_an_hour = after(&Service::default(), &[quarantine(Some(Duration::from_hours(1)))]);
    let end = for_an_hour.due().unwrap();
    assert_eq!(end, NOW.plus(Duration::from_hours(1)));
    assert_eq!(for_an_hour.after(&Order::Tick, end).unwrap().admits(), Admits::Everybody);
}

#[test]
fn a_reserved_device_serves_who_has_the_token_until_the_time_is_over() {
    let reserved = after(&Service::default(), &[reserve(1)]);
    assert!(serves(&reserved, 1) && !serves(&reserved, 2) && !reserved.admits().job(None));
    let refused = "it is reserved by li: ask them, or release it first";
    assert_eq!(reserved.after(&reserve(2), NOW).unwrap_err().to_string(), refused);
    assert_eq!(reserved.after(&hold(None), NOW).unwrap_err().to_string(), refused);
    let end = reserved.due().unwrap();
    assert_eq!(reserved.after(&Order::Tick, end).unwrap().admits(), Admits::Everybody);
    assert!(reserved.after(&reserve(2), end).is_ok(), "an ended reservation holds nobody up");
    let length = LONGEST_RESERVATION + Duration::from_secs(1);
    let longer = Order::Reserve { reservation: of(1), by: "li".to_owned(), length };
    assert_eq!(reserved.after(&longer, NOW), Err(Refusal::Length));
}

#[test]
fn a_reservation_that_ends_early_gives_back_its_own_devices_only() {
    let reserved = after(&Service::default(), &[reserve(1)]);
    let unreserve = |n| Order::Unreserve { reservation: of(n) };
    assert_eq!(after(&reserved, &[unreserve(2)]), reserved);
    assert_eq!(after(&reserved, &[unreserve(1)]).admits(), Admits::Everybody);
    let quarantined = after(&reserved, &[quarantine(None)]);
    assert_eq!(after(&quarantined, &[unreserve(1)]), quarantined);
}

#[test]
fn what_somebody_has_in_his_hands_gets_no_job_and_no_machine_blames_it() {
    let held = after(&Service::default(), &[hold(None)]);
    assert_eq!(held.admits(), Admits::Nobody(Out::Held));
    assert_eq!(after(&held, &[sick(), Order::Tick]), held);
    assert_eq!(
        held.after(&reserve(1), NOW).unwrap_err().to_string(),
        "it is held by li: ask them, or release it first"
    );
    assert_eq!(held.words(&Service::default()), "held by li: its camera");
    let shortly = after(&Service::default(), &[hold(Some(Duration::from_mins(5)))]);
    let over = shortly.after(&Order::Tick, NOW.plus(Duration::from_mins(5))).unwrap();
    assert_eq!((over.admits(), over.words(&shortly)), (Admits::Everybody, "it is held no longer".to_owned()));
}

#[test]
fn what_is_out_of_service_is_not_reserved_and_what_is_retired_only_comes_back_by_release() {
    let retired = after(&Service::default(), &[Order::Retire { reason: "swollen".to_owned() }]);
    for order in [reserve(1), hold(None), Order::Maintain { reason: String::new() }] {
        assert_eq!(
            retired.after(&order, NOW).unwrap_err().to_string(),
            "it is in state retired (swollen): release it first"
        );
    }
    let away = after(&Service::default(), &[Order::Maintain { reason: "new battery".to_owned() }]);
    assert!(away.after(&reserve(1), NOW).is_err());
}

#[test]
fn a_device_back_from_a_machines_quarantine_is_on_probation_and_one_that_was_released_is_not() {
    let quarantined = after(&Service::default(), &[sick()]);
    let back = quarantined.after(&Order::Tick, quarantined.due().unwrap()).unwrap();
    assert!(back.words(&quarantined).contains("probation"), "{}", back.words(&quarantined));
    assert!(back.is_on_probation());
    assert!(!after(&back, &[Order::Healthy]).is_on_probation());
    assert_eq!(after(&quarantined, &[Order::Release]).words(&quarantined), "released by hand");
}

#[test]
fn the_kept_state_is_the_one_that_takes_a_person_to_change() {
    let state = |orders: &[Order]| after(&Service::default(), orders).state();
    assert_eq!(state(&[]), DeviceState::Ready);
    assert_eq!((state(&[reserve(1)]), state(&[hold(None)])), (DeviceState::Reserved, DeviceState::Reserved));
    assert_eq!(state(&[sick()]), DeviceState::Quarantined);
}

fn any_order() -> impl Strategy<Value = Order> {
    prop_oneof![
        Just(reserve(1)),
        Just(reserve(2)),
        Just(hold(None)),
        Just(hold(Some(Duration::from_hours(1)))),
        Just(Order::Unreserve { reservation: of(1) }),
        Just(quarantine(None)),
        Just(quarantine(Some(Duration::from_hours(1)))),
        Just(Order::Maintain { reason: "m".to_owned() }),
        Just(Order::Retire { reason: "r".to_owned() }),
        Just(Order::Release),
        Just(sick()),
        Just(Order::Healthy),
        Just(Order::Tick),
    ]
}

proptest! {
    #[test]
    fn no_machine_brings_a_device_back_before_its_time(
        orders in prop::collection::vec((any_order(), 0_u64..100_000), 1..60),
    ) {
        let (mut service, mut now) = (Service::default(), NOW);
        for (order, seconds) in orders {
            now = now.plus(Duration::from_secs(seconds));
            let Ok(next) = service.after(&order, now) else { continue };
            let is_out = |service: &Service| matches!(service.admits(), Admits::Nobody(_));
            if is_out(&service) && !is_out(&next) {
                let ended = service.due().is_some_and(|due| due <= now);
                prop_assert!(order == Order::Release || (order == Order::Tick && ended), "{service:?} {order:?}");
            }
            prop_assert!(next.strikes <= service.strikes + 1);
            service = next;
        }
    }

    #[test]
    fn a_service_that_was_written_down_is_read_as_it_was(orders in prop::collection::vec(any_order(), 0..20)) {
        let mut service = Service::default();
        for order in orders {
            service = service.after(&order, NOW).unwrap_or(service);
        }
        let text = serde_json::to_string(&service).unwrap();
        prop_assert_eq!(serde_json::from_str::<Service>(&text).unwrap(), service);
    }
}
