//! A lab host as its operator runs it, between a real server, a real adb server and the daemon that phones run.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use rustix::process::Signal;

use crate::lab::{FOLDER, Lab, Phone};
use crate::namespaces::in_lab;
use crate::support::{AUTHORITY, Fleet, PROGRAM, Person};

/// A server, and a lab host for it.
struct Host {
    fleet: Fleet,
    adb: String,
    process: Option<Child>,
}

impl Host {
    /// With an agent for this computer's own ABI, which is that of the phones here.
    fn start(lab: &Lab) -> Self {
        let mut host = Self::without_agent(lab, Person::new(), &[]);
        host.add_agent();
        host.start_process();
        host
    }

    fn without_agent(lab: &Lab, person: Person, server: &[&str]) -> Self {
        let data = person.path("server");
        let fleet = Fleet::serve_with(person, &data, server);
        Self { fleet, adb: lab.server().address().to_owned(), process: None }
    }

    fn add_agent(&self) {
        let built = Path::new(PROGRAM).with_file_name("seatrial-agent");
        assert!(built.exists(), "there is no {}: cargo build -p seatrial-agent", built.display());
        let stripped = self.fleet.person.path("stripped");
        // As phones get it: what debuggers need is ten times as large.
        assert!(Command::new("strip").arg("-o").arg(&stripped).arg(built).status().unwrap().success());
        self.fleet.seatrial(&["agents", "add", stripped.to_str().unwrap()]).success();
    }

    fn start_process(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.fleet.person.path("lab.log")).unwrap();
        let mut command = self.fleet.person.command();
        command.args(["agent", "lab", "--server", &self.fleet.address, "--adb", &self.adb, "--folder", "lab"]);
        command.args(["--heartbeat", "1", "--load-wait", "0", "--log", "info,seatrial_agent::lab=debug"]);
        self.process = Some(command.stderr(log).spawn().unwrap());
    }

    /// `kill -9`.
    fn kill_process(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    fn log(&self) -> String {
        let read = |name| std::fs::read_to_string(self.fleet.person.path(name)).unwrap_or_default();
        read("lab.log")
    }

    fn eventually(&self, what: &str, so: impl Fn(&Self) -> bool) {
        let since = std::time::Instant::now();
        while !so(self) {
            assert!(since.elapsed().as_secs() < 180, "not in 180 s: {what}; the lab host: {}", self.log());
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }

    /// The one device of the fleet is connected.
    fn has_joined(&self) {
        self.eventually("the phone's agent has joined", |host| {
            let devices = host.fleet.json(&["devices"])["devices"].clone();
            assert!(devices.as_array().unwrap().len() <= 1, "one phone is one device: {}", host.log());
            devices[0]["connected"] == true
        });
    }

    fn times(&self, words: &str) -> usize {
        self.log().lines().filter(|line| words.split('+').all(|word| line.contains(word))).count()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            process.kill().ok();
            process.wait().ok();
        }
    }
}

/// A file of the phone's Seatrial.
fn on_phone(lab: &Lab, name: &str) -> PathBuf {
    lab.seen_on_phone(&format!("{FOLDER}/seatrial/{name}"))
}

/// The process of the phone's agent.
fn agent(lab: &Lab) -> u32 {
    std::fs::read_to_string(on_phone(lab, "agent.program")).unwrap().trim().parse().unwrap()
}

fn evaluates_digits(fleet: &Fleet) {
    fleet.register_digits();
    let suite = "name = \"phone\"\nmodels = [{ name = \"digits-mlp\", variants = [\"fp32\"] }]\ndatasets = [\"digits\"]\n\
                 backends = [{ runtime = \"tract\" }]\n[[profiles]]\nkind = \"quick\"\nmin_seconds = 0.2\n\
                 warmup = { min_seconds = 0.1 }\n[gate]\nallow_invalid = true\n";
    let path = fleet.person.write("phone.toml", suite);
    let run = fleet.json(&["run", path.to_str().unwrap(), "--wait"]);
    let [job] = run["jobs"].as_array().unwrap().as_slice() else { panic!("{run:#}") };
    assert_eq!(job["outcome"], "ok", "{run:#}");
    assert!(job["metrics"]["top1"]["value"].as_f64().unwrap() > 0.9, "{run:#}");
}

#[test]
fn a_phone_that_appears_gets_the_agent_and_runs_a_whole_job_through_its_tunnel() {
    in_lab(async |lab| {
        let host = Host::start(lab);
        lab.phone().await;
        host.has_joined();
        let command = std::fs::read_to_string(format!("/proc/{}/cmdline", agent(lab))).unwrap();
        let port = std::fs::read_to_string(on_phone(lab, "port")).unwrap();
        assert!(command.contains(&format!("--via\0127.0.0.1:{port}\0")), "{command}");
        assert!(!host.fleet.address.ends_with(&port), "the server is reached through the tunnel alone");
        evaluates_digits(&host.fleet);
    });
}

#[test]
fn an_agent_that_is_killed_comes_back_as_the_same_device_and_what_its_phone_tells_is_kept() {
    in_lab(async |lab| {
        let host = Host::start(lab);
        lab.phone().await;
        host.has_joined();
        let killed = agent(lab);
        let evidence = host.fleet.person.path("lab/evidence");
        assert!(!evidence.exists(), "the control");
        assert!(Command::new("kill").args(["-9", &killed.to_string()]).status().unwrap().success());
        host.eventually("another agent runs", |host| host.times("agent started") == 2);
        assert_ne!(agent(lab), killed);
        host.has_joined();
        let folder = std::fs::read_dir(evidence).unwrap().next().unwrap().unwrap().path();
        let kept = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
        let text = std::fs::read_to_string(kept).unwrap();
        assert!(text.contains("== exit status\n137") && text.contains("in session with the server"), "{text}");
        evaluates_digits(&host.fleet);
    });
}

#[test]
fn a_lab_host_that_is_killed_leaves_agents_at_work_and_the_next_one_finds_them() {
    in_lab(async |lab| {
        let mut host = Host::start(lab);
        lab.phone().await;
        host.has_joined();
        let found = agent(lab);
        host.kill_process();
        evaluates_digits(&host.fleet);
        host.start_process();
        host.eventually("the agent is found", |host| host.times("agent found running") == 1);
        assert_eq!((agent(lab), host.times("agent started")), (found, 1));
        host.has_joined();
        // A tunnel that was laid anew at the same place carries as before.
        evaluates_again(&host.fleet);
    });
}

fn evaluates_again(fleet: &Fleet) {
    let path = fleet.person.path("phone.toml");
    let run = fleet.json(&["run", path.to_str().unwrap(), "--wait"]);
    assert_eq!(run["jobs"][0]["outcome"], "ok", "{run:#}");
}

#[test]
fn a_phone_that_is_frozen_or_unplugged_is_told_and_its_agent_is_found_again() {
    in_lab(async |lab| {
        let host = Host::start(lab);
        let phone: Phone = lab.phone().await;
        host.has_joined();
        let (found, unusable) = (agent(lab), host.times("not usable"));
        // It stays listed as if nothing was wrong: only a sign of life that does not come tells it.
        lab.signal(&phone, Signal::STOP);
        host.eventually("its silence is told", |host| host.times("not done+Check+Silent") == 1);
        assert_eq!(host.times("not usable"), unusable, "the control: the adb server has noticed nothing");
        lab.signal(&phone, Signal::CONT);
        host.eventually("it is found again", |host| host.times("agent found running") >= 1);

        let before = host.times("gone+127.0.0.1");
        lab.server().disconnect(&phone.serial(), &crate::lab::patient()).await.unwrap();
        host.eventually("that it is gone is told", |host| host.times("gone+127.0.0.1") > before);
        let before = host.times("agent found running");
        phone.connect(&lab.server()).await;
        host.eventually("it is found again", |host| host.times("agent found running") > before);
        assert_eq!((agent(lab), host.times("agent started")), (found, 1), "it has worked all the time");
        host.has_joined();
        evaluates_digits(&host.fleet);
    });
}

#[test]
fn a_daemon_that_is_killed_is_offline_with_advice_and_its_agent_goes_on() {
    in_lab(async |lab| {
        let host = Host::start(lab);
        let phone = lab.phone().await;
        host.has_joined();
        // By TCP it is offline for a moment when it appears, too.
        let (found, before) = (agent(lab), host.times("not usable+offline+code=replug"));
        lab.kill(&phone);
        host.eventually("it is offline", |host| host.times("not usable+offline+code=replug") > before);
        lab.start_again(&phone);
        phone.connect(&lab.server()).await;
        host.eventually("it is found again", |host| host.times("agent found running") >= 1);
        assert_eq!(agent(lab), found);
        host.has_joined();
    });
}

#[test]
fn a_phone_for_which_the_server_has_no_agent_says_so_and_gets_one_once_there_is_one() {
    in_lab(async |lab| {
        let mut host = Host::without_agent(lab, Person::new(), &[]);
        host.start_process();
        lab.phone().await;
        host.eventually("what to do is told", |host| host.times("code=add_agent") >= 1);
        host.eventually("the server has heard of it", |host| {
            host.fleet.logs().contains("a phone is not usable: the server has no agent for it")
        });
        assert_eq!(host.times("agent started"), 0);
        host.add_agent();
        host.has_joined();
    });
}

#[test]
fn a_newer_agent_takes_the_place_of_one_that_finishes_what_it_does() {
    in_lab(async |lab| {
        let host = Host::start(lab);
        let phone = lab.phone().await;
        host.has_joined();
        let old = agent(lab);
        let stripped = host.fleet.person.path("stripped");
        let mut newer = std::fs::read(&stripped).unwrap();
        newer.extend_from_slice(b"newer");
        std::fs::write(&stripped, newer).unwrap();
        host.fleet.seatrial(&["agents", "add", stripped.to_str().unwrap()]).success();
        // A phone is looked at as a whole when it is plugged in.
        lab.server().disconnect(&phone.serial(), &crate::lab::patient()).await.unwrap();
        host.eventually("that it is gone is told", |host| host.times("gone+127.0.0.1") >= 1);
        phone.connect(&lab.server()).await;
        host.eventually("the newer one runs", |host| host.times("agent started") == 2);
        assert_eq!((host.times("asked to end"), host.times("AgentDied")), (1, 0), "{}", host.log());
        assert_ne!(agent(lab), old);
        assert_eq!(std::fs::read_dir(on_phone(lab, "bin")).unwrap().count(), 1, "the older one is removed");
        host.has_joined();
    });
}

#[test]
fn phones_join_a_server_with_tls_under_its_own_name_through_their_tunnels() {
    in_lab(async |lab| {
        let person = Person::new();
        person.issue(AUTHORITY, "server");
        let [certificate, key] = ["server.pem", "server.key"].map(|name| person.path(name).display().to_string());
        let mut host = Host::without_agent(lab, person, &["--tls-certificate", &certificate, "--tls-key", &key]);
        host.fleet.address = host.fleet.address.replace("127.0.0.1", "localhost");
        host.add_agent();
        host.start_process();
        lab.phone().await;
        host.has_joined();
        evaluates_digits(&host.fleet);
    });
}
