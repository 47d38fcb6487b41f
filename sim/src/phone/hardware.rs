//! What is outside of a phone's software: its power, its battery, its cable, and whoever disturbs it.

use std::path::PathBuf;
use std::time::Duration;

use fs_err as fs;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::cable::{self, Link};
use super::model::Model;
use super::power::{Load, Places, Shown, TRUTH_FILE};
use super::world::World;
use super::{Config, Fault, PhoneError, Power, adbd, processes};

/// How often the battery is brought up to date.
const TICK: Duration = Duration::from_millis(200);
/// The framework refreshes its view at least this often (and on every change of level, status or plug).
const FRAMEWORK: Duration = Duration::from_mins(1);
/// A world that takes longer to make, or to end, is broken.
const PATIENCE: Duration = Duration::from_secs(30);

type Done = oneshot::Sender<Result<(), PhoneError>>;

pub enum Order {
    Inflict(Fault, Done),
    Mend(Done),
    Stop(Done),
}

pub struct Hardware {
    config: Config,
    world: World,
    battery: Option<(Places, Box<dyn Power>)>,
    link: watch::Sender<Link>,
    cable: JoinHandle<()>,
    running: Option<Running>,
    /// When the battery was last asked, and what the CPU had used by then in this boot.
    asked: (Instant, Duration),
    framework: Option<(Instant, Shown, bool)>,
    is_dark: bool,
    is_trusted: bool,
    charge: Option<u8>,
    /// Zones that show a heat, with what they showed before.
    hot: Vec<(PathBuf, String)>,
}

/// The processes of one boot.
struct Running {
    unshare: Child,
    /// Its end is the end of power.
    control: ChildStdin,
    /// Held, so that nobody inside writes into the void.
    _said: BufReader<ChildStdout>,
}

impl Drop for Hardware {
    fn drop(&mut self) {
        self.cable.abort();
    }
}

impl Hardware {
    pub fn build(mut config: Config, port: u16) -> Result<Self, PhoneError> {
        let mut world = World::build(&config.folder, &config.description)?;
        for path in &config.description.denied {
            world.deny(path)?;
        }
        let made = config.description.parts.as_ref().map(|parts| Model::new(parts, seed_of(&config.serial)));
        let power = config.power.take().or_else(|| made.map(|model| Box::new(model) as Box<dyn Power>));
        let battery = Places::find(&world.root(), &world.answers())?.map(|places| {
            let power = power.unwrap_or_else(|| Box::new(places.still()));
            (places, power)
        });
        let (link, watched) = watch::channel(Link::unplugged());
        let cable = tokio::spawn(cable::run(port, world.root().join("dev/socket"), watched));
        let asked = (Instant::now(), Duration::ZERO);
        let hot = Vec::new();
        let [is_dark, is_trusted] = [false, true];
        let (running, framework, charge) = (None, None, None);
        Ok(Self { config, world, battery, link, cable, running, asked, framework, is_dark, is_trusted, charge, hot })
    }

    pub async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    // Whoever ordered may have gone.
                    Some(Order::Inflict(fault, done)) => { let _ = done.send(self.inflict(fault).await); }
                    Some(Order::Mend(done)) => { let _ = done.send(self.mend().await); }
                    Some(Order::Stop(done)) => {
                        self.power_off().await;
                        let _ = done.send(Ok(()));
                        return;
                    }
                    None => return,
                },
                code = ended(&mut self.running) => {
                    let why = if code == Some(adbd::REBOOT.into()) { "reboot,shell" } else { "kernel_panic" };
                    if let Err(error) = self.reboot(why).await {
                        tracing::error!(%error, "a simulated phone does not come up again");
                    }
                }
                _ = tick.tick() => self.refresh(),
            }
        }
    }

    /// Boots, for a reason as `sys.boot.reason` names it.
    pub async fn boot(&mut self, reason: &str) -> Result<(), PhoneError> {
        let own = [
            ("ro.serialno", self.config.serial.as_str()),
            ("ro.boot.serialno", self.config.serial.as_str()),
            ("sys.boot.reason", reason),
            ("ro.boot.bootreason", reason),
            ("sys.boot_completed", "1"),
        ];
        let boot_id = uuid::Uuid::from_u128(rand::random()).to_string();
        let given = self.config.properties.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let over = machine_abi().into_iter().chain(given).chain(own);
        self.world.renew(&self.config.description, over, &boot_id)?;
        self.framework = None;
        self.asked = (Instant::now(), Duration::ZERO);
        self.refresh();
        let mut program = self.config.program.clone();
        program.push(self.config.description.identity().into());
        let mut unshare = self.world.boot(&program, self.config.turn.as_deref())?;
        let (Some(control), Some(stdout)) = (unshare.stdin.take(), unshare.stdout.take()) else {
            return Err(PhoneError::Boot { why: "it has no pipes".to_owned() });
        };
        let mut said = BufReader::new(stdout);
        let mut line = String::new();
        // A longer line, or another, is not the daemon's.
        let ready = timeout(PATIENCE, said.read_line(&mut line)).await;
        if !matches!(ready, Ok(Ok(_))) || line.trim_end() != adbd::READY {
            return Err(PhoneError::Boot { why: self.world.log() });
        }
        self.running = Some(Running { unshare, control, _said: said });
        self.tell_trust().await?;
        let is_dark = self.is_dark;
        self.link.send_modify(|link| link.plugged = !is_dark);
        Ok(())
    }

    async fn reboot(&mut self, reason: &str) -> Result<(), PhoneError> {
        self.power_off().await;
        tokio::time::sleep(self.config.boot_time).await;
        self.boot(reason).await
    }

    /// As when a battery is pulled: nothing of the phone gets to say anything.
    async fn power_off(&mut self) {
        self.link.send_modify(|link| link.plugged = false);
        let Some(mut running) = self.running.take() else { return };
        let init = running.unshare.id().and_then(processes::init_of).and_then(Pid::from_raw);
        // The kernel ends the others before `unshare` hears of the first one's end.
        if init.is_none_or(|init| kill_process(init, Signal::KILL).is_err()) {
            // It has ended already, or this ends it.
            let _ = running.unshare.start_kill();
        }
        if timeout(PATIENCE, running.unshare.wait()).await.is_err() {
            tracing::error!("the processes of a simulated phone do not end");
        }
    }

    async fn inflict(&mut self, fault: Fault) -> Result<(), PhoneError> {
        match fault {
            Fault::Cut { after: 0 } => self.cut(),
            Fault::Cut { after } => self.link.borrow().left.store(after, std::sync::atomic::Ordering::Relaxed),
            Fault::Stall => self.link.send_modify(|link| link.flowing = false),
            Fault::Slow { bytes_per_second } => {
                self.link.send_modify(|link| link.bytes_per_second = Some(bytes_per_second));
            }
            Fault::Dark => {
                self.is_dark = true;
                self.link.send_modify(|link| link.plugged = false);
            }
            Fault::Unauthorized => {
                self.is_trusted = false;
                self.tell_trust().await?;
                self.cut();
            }
            Fault::Offline => {
                self.link.send_modify(|link| link.flowing = false);
                self.cut();
            }
            Fault::Frozen => {
                // What was started while the first look went on is in the second.
                for _ in 0..2 {
                    processes::signal(&self.init().map(processes::members).unwrap_or_default(), Signal::STOP);
                }
            }
            Fault::Reboot => return self.reboot("reboot").await,
            Fault::Killed => return self.kill_detached(),
            Fault::Heat { celsius } => return self.heat(celsius),
            Fault::Charge { percent } => {
                self.charge = Some(percent);
                self.refresh();
            }
            Fault::Denied { path } => return self.world.deny(&path),
        }
        Ok(())
    }

    async fn mend(&mut self) -> Result<(), PhoneError> {
        processes::signal(&self.init().map(processes::members).unwrap_or_default(), Signal::CONT);
        self.is_trusted = true;
        self.tell_trust().await?;
        self.is_dark = false;
        self.charge = None;
        self.world.allow()?;
        for path in self.config.description.denied.clone() {
            self.world.deny(&path)?;
        }
        for (zone, text) in std::mem::take(&mut self.hot) {
            self.world.write(&zone, &text)?;
        }
        self.refresh();
        self.link.send_modify(|link| {
            *link = Link { plugged: true, cuts: link.cuts, ..Link::unplugged() };
        });
        Ok(())
    }

    fn cut(&self) {
        self.link.send_modify(|link| link.cuts += 1);
    }

    async fn tell_trust(&mut self) -> Result<(), PhoneError> {
        let Some(running) = &mut self.running else { return Ok(()) };
        let word = if self.is_trusted { adbd::AUTHORIZED } else { adbd::UNAUTHORIZED };
        Ok(running.control.write_all(format!("{word}\n").as_bytes()).await?)
    }

    fn init(&self) -> Option<i32> {
        self.running.as_ref()?.unshare.id().and_then(processes::init_of)
    }

    fn kill_detached(&self) -> Result<(), PhoneError> {
        let victims = self.init().map(processes::detached).unwrap_or_default();
        processes::signal(&victims, Signal::KILL);
        let log = self.world.root().join("dev/log/main");
        let mut text = fs::read_to_string(&log)?;
        for process in victims {
            let line = format!("I/ActivityManager( 1000): Killing {}:{}/2000 (adj 900): ", process.pid, process.name);
            text.push_str(&(line + "power saving\n"));
        }
        Ok(fs::write(&log, text)?)
    }

    fn heat(&mut self, celsius: f64) -> Result<(), PhoneError> {
        let mut places: Vec<PathBuf> = Vec::new();
        if let Ok(zones) = fs::read_dir(self.world.root().join("sys/class/thermal")) {
            places = zones.flatten().map(|zone| zone.path().join("temp")).filter(|temp| temp.exists()).collect();
        }
        places.push(self.world.answers().join("dumpsys/thermalservice"));
        for place in places {
            let Ok(before) = fs::read_to_string(&place) else { continue };
            let text = heated(&before, celsius);
            self.world.write(&place, &text)?;
            if !self.hot.iter().any(|(hot, _)| *hot == place) {
                self.hot.push((place, before));
            }
        }
        Ok(())
    }

    /// Asks the battery what it shows, and shows it where the phone shows it.
    fn refresh(&mut self) {
        let used = self.init().map_or(self.asked.1, processes::cpu_time).max(self.asked.1);
        let now = Instant::now();
        let [elapsed, cpu] = [now - self.asked.0, used.saturating_sub(self.asked.1)];
        self.asked = (now, used);
        let plugged = self.config.is_plugged && !self.is_dark;
        let Some((places, power)) = &mut self.battery else { return };
        let mut shown = power.advance(Load { elapsed, cpu, plugged, on: self.running.is_some() });
        shown.capacity = self.charge.or(shown.capacity);
        let mut files = places.files(&shown, plugged);
        let is_due = self.framework.as_ref().is_none_or(|(when, was, was_plugged)| {
            let seen = |shown: &Shown| (shown.capacity, shown.status);
            now - *when >= FRAMEWORK || seen(was) != seen(&shown) || *was_plugged != plugged
        });
        if is_due {
            files.extend(places.framework(&shown, plugged));
            self.framework = Some((now, shown, plugged));
        }
        if let Some(truth) = power.truth()
            && let Err(error) = self.world.tell(TRUTH_FILE, &truth)
        {
            tracing::debug!(%error, "what a simulated phone really used is not told");
        }
        files.retain(|(path, _)| !self.hot.iter().any(|(hot, _)| hot == path));
        for (path, text) in files {
            if let Err(error) = self.world.write(&path, &text) {
                tracing::debug!(%error, "a node of a simulated phone stays as it was");
            }
        }
    }
}

/// The exit code of the world, when it ends by itself.
async fn ended(running: &mut Option<Running>) -> Option<i32> {
    match running {
        Some(running) => running.unshare.wait().await.ok()?.code(),
        None => std::future::pending().await,
    }
}

/// The same phone every time.
fn seed_of(serial: &str) -> u64 {
    // FNV-1a.
    serial.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// What the programs of the phone must be built for: this machine's processor, in Android's word for it.
fn machine_abi() -> [(&'static str, &'static str); 4] {
    let (word, is_wide) = match std::env::consts::ARCH {
        "aarch64" => ("arm64-v8a", true),
        "arm" => ("armeabi-v7a", false),
        other => (other, cfg!(target_pointer_width = "64")),
    };
    let (wide, narrow) = if is_wide { (word, "") } else { ("", word) };
    [
        ("ro.product.cpu.abi", word),
        ("ro.product.cpu.abilist", word),
        ("ro.product.cpu.abilist64", wide),
        ("ro.product.cpu.abilist32", narrow),
    ]
}

/// A zone keeps its unit; a dump its lines.
pub(super) fn heated(before: &str, celsius: f64) -> String {
    match before.trim().parse::<f64>() {
        Ok(value) if value.abs() >= 1000.0 => format!("{:.0}\n", celsius * 1000.0),
        Ok(value) if value.abs() >= 100.0 => format!("{:.0}\n", celsius * 10.0),
        Ok(_) => format!("{celsius:.0}\n"),
        Err(_) => before.replace("Thermal Status: 0", "Thermal Status: 3"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heat_is_told_in_the_unit_of_the_zone() {
        assert_eq!(heated("41250\n", 81.5), "81500\n");
        assert_eq!(heated("412\n", 81.5), "815\n");
        assert_eq!(heated("41\n", 81.5), "82\n");
        assert_eq!(heated("Thermal Status: 0\nHAL Ready: true\n", 81.5), "Thermal Status: 3\nHAL Ready: true\n");
    }
}
