//! Files that change all the time, and a comparison of each answer of several gateways with what the events say.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use uuid::Uuid;
use waybill_integration_tests::{Answer, Client, Cluster};
use waybill_schema::Position;
use waybill_test_kit::{eventually, eventually_within};

/// Time after which a revocation has taken effect in each process.
const EFFECTIVE: Duration = Duration::from_secs(1);

/// State of a file after one of its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    name: String,
    is_shared: bool,
    is_deleted: bool,
}

impl State {
    fn is_visible(&self) -> bool {
        self.is_shared && !self.is_deleted
    }
}

/// A file that one task changes, and all of its states: the last one may not be acknowledged yet.
pub(crate) struct Changing {
    id: String,
    states: Mutex<Vec<State>>,
    acknowledged: Mutex<Vec<Instant>>,
}

impl Changing {
    /// Returns the states that an answer may show if it was asked for now, with the position of all acknowledged changes, as soon as
    /// it has arrived.
    fn newest(&self) -> usize {
        self.acknowledged.lock().unwrap().len() - 1
    }

    /// Returns the number of the last state that was acknowledged at that time.
    fn at(&self, time: Instant) -> usize {
        self.acknowledged.lock().unwrap().partition_point(|at| *at <= time).saturating_sub(1)
    }

    /// Returns the states from this one to the last one that may have been reached.
    fn since(&self, from: usize) -> Vec<State> {
        self.states.lock().unwrap()[from..].to_vec()
    }
}

pub(crate) struct Load {
    files: Vec<Changing>,
    room: Uuid,
    /// Position of the last acknowledged change.
    position: Mutex<Position>,
    is_over: AtomicBool,
    checked: AtomicUsize,
}

/// A company with a chatroom. Anna is an administrator, and Ben is a member of the chatroom. Both have a client for each gateway.
pub(crate) struct Scene {
    pub(crate) cluster: Cluster,
    pub(crate) anna: Vec<Client>,
    pub(crate) ben: Vec<Client>,
    pub(crate) room: Uuid,
}

impl Scene {
    /// Restarts the gateways with these arguments, and makes the company.
    pub(crate) async fn on(mut cluster: Cluster, args: &[String]) -> Self {
        let args: Vec<String> = args.iter().cloned().chain(["--rate-per-user=100000".to_owned()]).collect();
        for index in 0..cluster.gateways.len() {
            cluster.replace_gateway(index, &args).await;
        }
        let anna = cluster.client();
        let ben = cluster.user_of(anna.principal.company_id);
        let (room, admin) = (Uuid::now_v7(), format!("/v1/admin/companies/{}", anna.principal.company_id));
        let mut last = anna.put(&admin, &json!({})).await;
        for path in [
            format!("/users/{}", ben.principal.user_id),
            format!("/chatrooms/{room}"),
            format!("/chatrooms/{room}/members/{}", ben.principal.user_id),
        ] {
            last = anna.put(&format!("{admin}{path}"), &json!({})).await.expect(204);
        }
        anna.get_after("/v1/quota", &last).await.expect(200);
        let urls: Vec<String> = cluster.gateways.iter().map(|gateway| format!("http://{}", gateway.addr())).collect();
        let of_all = |client: &Client| urls.iter().map(|url| client.at(url.clone())).collect();
        Self { anna: of_all(&anna), ben: of_all(&ben), room, cluster }
    }

    /// Waits until a gauge of all gateways has a value.
    pub(crate) async fn all_have(&self, gauge: &str, value: u64) {
        for gateway in &self.cluster.gateways {
            let has = || async { (gateway.metric(gauge).await == value).then_some(()) };
            eventually_within(Duration::from_secs(120), "all gateways to notice a change", has).await;
        }
    }

    /// Uploads files, and changes and reads them until `faults` has ended.
    pub(crate) async fn load(&self, faults: impl AsyncFnOnce(&Load)) -> Load {
        let load = Load::of(self).await;
        let faults = async {
            faults(&load).await;
            load.is_over.store(true, Ordering::Relaxed);
        };
        let gateways = self.anna.len();
        let writers = join_all((0..load.files.len()).map(|number| load.change(number, &self.anna)));
        let readers =
            join_all((0..8).map(|begin| load.read(begin, &self.anna[begin % gateways], &self.ben[begin % gateways])));
        tokio::join!(faults, writers, readers);
        load
    }
}

impl Load {
    async fn of(scene: &Scene) -> Self {
        let (anna, mut files) = (&scene.anna[0], Vec::new());
        for number in 0..6 {
            let name = format!("{number}.txt");
            let id = anna.small_file(&name).await.text("file_id");
            let path = format!("/v1/files/{id}");
            let named = anna.patch(&path, &json!({ "display_name": name })).await.expect(204);
            anna.get_after(&path, &named).await.expect(200);
            let state = State { name, is_shared: false, is_deleted: false };
            files.push(Changing { id, states: vec![state].into(), acknowledged: vec![Instant::now()].into() });
        }
        Self {
            files,
            room: scene.room,
            position: Position { partition: 0, seq: 0 }.into(),
            is_over: AtomicBool::new(false),
            checked: AtomicUsize::new(0),
        }
    }

    /// Returns the path of one of the files.
    pub(crate) fn path(&self) -> String {
        format!("/v1/files/{}", self.files[0].id)
    }

    /// Changes a file again and again.
    async fn change(&self, number: usize, anna: &[Client]) {
        let file = &self.files[number];
        let path = format!("/v1/files/{}", file.id);
        let shares = format!("{path}/associations");
        let mut association = String::new();
        for step in number.. {
            if self.is_over.load(Ordering::Relaxed) {
                return;
            }
            let mut state = file.states.lock().unwrap().last().unwrap().clone();
            let client = &anna[step % anna.len()];
            let (method, path, body) = match (state.is_deleted, step % 3) {
                (true, _) => (Method::POST, format!("{path}/restore"), json!({})),
                (false, 0) => (Method::PATCH, path.clone(), json!({ "display_name": format!("{number}-{step}.txt") })),
                (false, 1) if state.is_shared => (Method::DELETE, format!("/v1/associations/{association}"), json!({})),
                (false, 1) => {
                    let body = json!({ "chatroom_id": self.room, "access_type": "PRIVATE" });
                    (Method::POST, shares.clone(), body)
                }
                (false, _) => (Method::DELETE, path.clone(), json!({})),
            };
            match (state.is_deleted, step % 3) {
                (true, _) => state.is_deleted = false,
                (false, 0) => state.name = format!("{number}-{step}.txt"),
                (false, 1) => state.is_shared = !state.is_shared,
                (false, _) => state.is_deleted = true,
            }
            file.states.lock().unwrap().push(state);
            // The other gateway may not have received the restoration yet.
            let is_done = |answer: &Answer| answer.body["code"] != "file_not_ready" && answer.status != 503;
            let done = eventually("the change to be accepted", || async {
                Some(client.send(client.request(method.clone(), &path).json(&body)).await).filter(is_done)
            })
            .await;
            assert!(done.status < 300, "{done:?}");
            if done.status == 201 {
                association = done.text("id");
            }
            let position: Position = done.position.unwrap().parse().unwrap();
            let mut last = self.position.lock().unwrap();
            if position.seq > last.seq {
                *last = position;
            }
            file.acknowledged.lock().unwrap().push(Instant::now());
        }
    }

    /// Asks one gateway again and again, and compares each answer with the states.
    async fn read(&self, begin: usize, anna: &Client, ben: &Client) {
        for step in begin.. {
            if self.is_over.load(Ordering::Relaxed) {
                return;
            }
            let file = &self.files[step / 4 % self.files.len()];
            let path = format!("/v1/files/{}", file.id);
            let from: Vec<usize> = self.files.iter().map(Changing::newest).collect();
            let newest = file.newest();
            let position = *self.position.lock().unwrap();
            let asked = Instant::now();
            let is_right = match step % 4 {
                0 => {
                    let answer = after(anna, &path, position).await;
                    let shown = |state: &State| {
                        answer.body["display_name"] == state.name.as_str()
                            && answer.body["deleted_at"].is_string() == state.is_deleted
                    };
                    answer.status == 503 || answer.status == 200 && file.since(newest).iter().any(shown)
                }
                1 => {
                    let answer = after(ben, &path, position).await;
                    is_permitted(&answer, &file.since(newest))
                }
                // A later page shows nothing that is not visible. A file may be on another page than before.
                2 if step % 8 == 6 => {
                    let list = format!("/v1/files?limit=2&chatroom_id={}", self.room);
                    let first = ben.get(&list).await;
                    let next = first.body["next_cursor"].as_str().map(|cursor| format!("{list}&cursor={cursor}"));
                    let answer = after(ben, &next.unwrap_or(list), position).await;
                    let shown = answer.body["items"].as_array().map(Vec::as_slice).unwrap_or_default();
                    let fits = |(file, from): (&Changing, usize)| {
                        !shown.iter().any(|item| item["id"] == file.id.as_str())
                            || is_in_list(&answer, &file.id, &file.since(from))
                    };
                    answer.status == 503 || answer.status == 200 && self.files.iter().zip(from).all(fits)
                }
                2 => {
                    let answer = after(ben, &format!("/v1/files?chatroom_id={}", self.room), position).await;
                    let fits = |(file, from): (&Changing, usize)| is_in_list(&answer, &file.id, &file.since(from));
                    answer.status == 503 || self.files.iter().zip(from).all(fits)
                }
                // Without a position, files may be shown late, but access ends in time.
                _ => {
                    let answer = ben.get(&path).await;
                    let before = asked.checked_sub(EFFECTIVE).map_or(0, |at| file.at(at));
                    answer.status != 200 || file.since(before).iter().any(State::is_visible)
                }
            };
            assert!(is_right, "step {step}: {:?}", file.since(newest));
            self.checked.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until that many further answers were compared.
    pub(crate) async fn checked(&self, more: usize) {
        let until = self.checked.load(Ordering::Relaxed) + more;
        let have = || async { (self.checked.load(Ordering::Relaxed) >= until).then_some(()) };
        eventually("more answers", have).await;
    }
}

async fn after(client: &Client, path: &str, position: Position) -> Answer {
    let request = client.request(Method::GET, path).header("Waybill-Min-Position", position.to_string());
    client.send(request).await
}

fn is_permitted(answer: &Answer, states: &[State]) -> bool {
    let shows = |state: &State| match answer.status {
        200 => state.is_visible() && answer.body["display_name"] == state.name.as_str(),
        404 => !state.is_visible(),
        _ => false,
    };
    answer.status == 503 || states.iter().any(shows)
}

fn is_in_list(answer: &Answer, id: &str, states: &[State]) -> bool {
    let items = answer.body["items"].as_array().unwrap();
    let item = items.iter().find(|item| item["id"] == id);
    states.iter().any(|state| match item {
        Some(item) => state.is_visible() && item["display_name"] == state.name.as_str(),
        None => !state.is_visible(),
    })
}
