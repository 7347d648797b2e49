use super::{Cache, CacheKey};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;
use uuid::Uuid;
use waybill_schema::{CompanyId, Position, Sha256Digest, UploadId, UserId};

fn company(number: u128) -> CompanyId {
    CompanyId(Uuid::from_u128(number))
}

fn user(number: u128) -> UserId {
    UserId(Uuid::from_u128(number))
}

#[test]
fn keys_of_one_type_differ_where_their_values_do() {
    assert_ne!(company(1).bytes(), company(2).bytes());
    assert_ne!((company(1), user(2)).bytes(), (company(2), user(1)).bytes());
    assert_ne!((company(1), user(2)).bytes(), (company(1), user(3)).bytes());
    let digest = |last| Sha256Digest(std::array::from_fn(|n| if n == 31 { last } else { 7 }));
    assert_ne!((company(1), digest(0)).bytes(), (company(1), digest(1)).bytes());
    let position = |partition, seq| Position { partition, seq };
    assert_ne!(position(1, 2).bytes(), position(2, 1).bytes());
    assert_ne!(position(0, 1 << 32).bytes(), position(1, 0).bytes());
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    assert_ne!(address("192.0.2.7").bytes(), address("::ffff:192.0.2.7").bytes());
    assert_ne!(address("4.0.0.0").bytes(), address("400::").bytes());
}

/// Keys of two types can have the same bytes. They do not collide, because each cache has only one type of keys.
#[test]
fn caches_of_other_types_know_nothing_of_each_other() {
    let names: Cache<(CompanyId, UserId), String> = Cache::new(10);
    let numbers: Cache<(CompanyId, UploadId), u64> = Cache::new(10);
    let id = Uuid::from_u128(2);
    assert_eq!((company(1), UserId(id)).bytes(), (company(1), UploadId(id)).bytes());
    names.insert(&(company(1), UserId(id)), "name".to_owned());
    assert!(!numbers.contains_key(&(company(1), UploadId(id))));
    numbers.insert(&(company(1), UploadId(id)), 7);
    assert_eq!(names.get(&(company(1), UserId(id))).unwrap().as_str(), "name");
    assert_eq!(numbers.get(&(company(1), UploadId(id))).as_deref(), Some(&7));
}

#[test]
fn what_is_removed_is_gone() {
    let cache: Cache<(CompanyId, UserId), u32> = Cache::new(100);
    for (of, number) in [(1, 1), (1, 2), (2, 1), (3, 1)] {
        cache.insert(&(company(of), user(number)), 5);
    }
    cache.invalidate(&(company(3), user(1)));
    cache.invalidate_company(company(1));
    let is_there = |of, number| cache.contains_key(&(company(of), user(number)));
    assert_eq!([is_there(1, 1), is_there(1, 2), is_there(2, 1), is_there(3, 1)], [false, false, true, false]);
}

#[test]
fn of_those_who_come_at_once_one_makes_the_value_for_all() {
    let cache: Cache<CompanyId, usize> = Cache::new(10);
    let (made, together) = (AtomicUsize::new(0), Barrier::new(8));
    let make = || {
        std::thread::sleep(Duration::from_millis(20));
        made.fetch_add(1, Ordering::SeqCst)
    };
    let got: Vec<Arc<usize>> = std::thread::scope(|scope| {
        let ask = || {
            together.wait();
            cache.get_with(&company(1), make)
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(made.load(Ordering::SeqCst), 1);
    assert!(got.iter().all(|value| Arc::ptr_eq(value, &got[0])));
    assert!(Arc::ptr_eq(&cache.get(&company(1)).unwrap(), &got[0]));
}

#[test]
fn a_change_begins_with_what_is_there_and_none_is_lost() {
    let cache: Cache<Position, i64> = Cache::new(10);
    let position = Position { partition: 1, seq: 2 };
    let one_more = |known: Option<Arc<i64>>| known.map_or(0, |known| *known) + 1;
    assert_eq!(*cache.upsert_with(&position, one_more), 1);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..100).for_each(|_| drop(cache.upsert_with(&position, one_more))));
        }
    });
    assert_eq!(cache.get(&position).as_deref(), Some(&401));
    cache.invalidate(&position);
    assert_eq!(*cache.upsert_with(&position, one_more), 1);
}

#[test]
fn a_value_is_weighed_when_it_is_put_there() {
    let cache: Cache<CompanyId, AtomicUsize> =
        Cache::builder(100).weigher(|value: &AtomicUsize| u32::try_from(value.load(Ordering::SeqCst)).unwrap()).build();
    let value = cache.get_with(&company(1), || AtomicUsize::new(30));
    assert_eq!(cache.entries.weighed(), 30);
    value.store(60, Ordering::SeqCst);
    assert_eq!(cache.entries.weighed(), 30);
    cache.insert(&company(1), value.clone());
    assert_eq!(cache.entries.weighed(), 60);
    assert!(Arc::ptr_eq(&cache.get(&company(1)).unwrap(), &value));
    // A value whose weight exceeds the capacity is not kept.
    cache.insert(&company(2), AtomicUsize::new(101));
    assert_eq!(cache.entries.weighed(), 60);
    assert!(cache.get(&company(2)).is_none());
}

#[test]
fn without_a_weigher_values_are_counted() {
    let cache: Cache<CompanyId, u64> = Cache::new(3);
    (0..3).for_each(|number| cache.insert(&company(number), 1_000));
    assert_eq!(cache.entries.weighed(), 3);
    (3..20).for_each(|number| cache.insert(&company(number), 1_000));
    assert_eq!(cache.entries.weighed(), 3);
}

#[test]
fn values_go_when_their_time_has_come() {
    let time = Duration::from_millis(50);
    let lives: Cache<CompanyId, ()> = Cache::builder(10).time_to_live(time).build();
    let idles: Cache<CompanyId, ()> = Cache::builder(10).time_to_idle(time).build();
    lives.insert(&company(1), ());
    idles.insert(&company(1), ());
    assert!(lives.contains_key(&company(1)) && idles.contains_key(&company(1)));
    std::thread::sleep(time * 2);
    assert!(!lives.contains_key(&company(1)) && !idles.contains_key(&company(1)));
}
