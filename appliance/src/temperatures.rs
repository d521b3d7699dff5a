//! Reads how hot the machine is from the kernel's thermal zones.
//!
//! Each zone is a folder `thermal_zone<number>` under `/sys/class/thermal` with a file `type`, its name, and a file
//! `temp`, thousandths of a degree Celsius (`Documentation/driver-api/thermal/sysfs-api.rst` of Linux). Names are the
//! kernel's own, as `tegrastats` and thermal trip points call them, too: `CPU-therm` or `cpu-thermal` on a Jetson by
//! its release, `x86_pkg_temp` on a PC. A virtual machine often has none.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aivms_contract::temperature::{Celsius, MAX_TEMPERATURES, SensorName, Temperature, Temperatures};
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::health::Vitals;

/// Where Linux shows thermal zones.
const SYSTEM: &str = "/sys/class/thermal";
/// Time between two readings: a machine warms within minutes, and a reading wakes sensors that are asleep.
const READ_INTERVAL: Duration = Duration::from_secs(10);
/// Longest time for all sensors of a machine. Behind a bus one can take some tenths of a second; one that is stuck is
/// not worth a report without an end.
const READ_LIMIT: Duration = Duration::from_secs(5);

/// A folder of thermal zones.
#[derive(Debug, Clone)]
pub struct ThermalZones {
    root: PathBuf,
    /// Time between two readings.
    period: Duration,
}

impl ThermalZones {
    /// Those of this machine.
    #[must_use]
    pub fn system() -> Self {
        Self { root: SYSTEM.into(), period: READ_INTERVAL }
    }

    /// Keeps `vitals` up to date until `stop`. While the sensors do not answer, no temperature is told: an old one
    /// would look like a new one.
    pub async fn watch(self, vitals: Arc<Vitals>, stop: CancellationToken) {
        let mut ticks = interval(self.period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let readings = async {
            loop {
                ticks.tick().await;
                self.clone().read_into(&vitals).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = readings => {}
        }
    }

    /// One reading, however long it takes: what hangs in the kernel would hang for a second one, too.
    async fn read_into(self, vitals: &Vitals) {
        let mut reading = spawn_blocking(move || self.read());
        let read = match timeout(READ_LIMIT, &mut reading).await {
            Ok(read) => read,
            Err(_) => {
                tracing::warn!("the temperature sensors do not answer");
                vitals.set_temperatures(Temperatures::default());
                reading.await
            }
        };
        vitals.set_temperatures(read.unwrap_or_else(|error| {
            tracing::error!(%error, "a reading of the temperature sensors failed");
            Temperatures::default()
        }));
    }

    /// Reads every zone, lowest number first, the first [`MAX_TEMPERATURES`] that have a value. May wait for the
    /// sensors. One that is off, is broken or says what no machine measures is left out.
    fn read(&self) -> Temperatures {
        let mut taken = BTreeSet::new();
        let named = self.zones().into_iter().map(|(number, zone)| (name(number, &zone, &mut taken), zone));
        let read = |(name, zone): (Option<SensorName>, PathBuf)| {
            Some(Temperature { name: name?, celsius: celsius(&zone.join("temp"))? })
        };
        let all: Vec<Temperature> = named.filter_map(read).take(MAX_TEMPERATURES).collect();
        // They are few enough and each has its own name, so none is refused.
        Temperatures::try_from(all).unwrap_or_default()
    }

    /// The zones by their numbers; none where there is no such folder.
    fn zones(&self) -> Vec<(u32, PathBuf)> {
        let entries = fs::read_dir(&self.root).into_iter().flatten().flatten();
        let numbered = entries.filter_map(|entry| {
            let number = entry.file_name().to_str()?.strip_prefix("thermal_zone")?.parse().ok()?;
            Some((number, entry.path()))
        });
        let mut zones: Vec<_> = numbered.collect();
        zones.sort_unstable();
        zones
    }
}

/// The zone's own name, or that of its folder when it has none that can be told. A name that another zone has by now
/// gets a number, the same at each reading, as zones that are off are counted, too.
fn name(number: u32, zone: &Path, taken: &mut BTreeSet<SensorName>) -> Option<SensorName> {
    let told = fs::read_to_string(zone.join("type")).unwrap_or_default();
    let folder = || SensorName::try_from(format!("thermal_zone{number}"));
    let first = SensorName::try_from(told.trim().to_owned()).or_else(|_| folder()).ok()?;
    let copies = (2..).map(|copy: u32| SensorName::try_from(format!("{first}-{copy}")).ok());
    let mut names = std::iter::once(Some(first.clone())).chain(copies).map_while(|name| name);
    let free = names.find(|name| !taken.contains(name))?;
    taken.insert(free.clone());
    Some(free)
}

/// What the file says, in degrees. A zone that is off answers with an error (`EAGAIN`, newer kernels `ENODATA`), with
/// nothing, or with a value that no machine has.
fn celsius(file: &Path) -> Option<Celsius> {
    let millidegrees: i32 = fs::read_to_string(file).ok()?.trim().parse().ok()?;
    Celsius::try_from(f64::from(millidegrees) / 1000.0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::eventually;
    use aivms_contract::health::OutboxHealth;
    use aivms_contract::time::UtcMillis;
    use tempfile::TempDir;

    fn zone(root: &TempDir, number: u32, name: &str, temp: &str) {
        let zone = root.path().join(format!("thermal_zone{number}"));
        fs::create_dir_all(&zone).unwrap();
        fs::write(zone.join("type"), format!("{name}\n")).unwrap();
        fs::write(zone.join("temp"), temp).unwrap();
    }

    fn told(temperatures: &Temperatures) -> Vec<(&str, f64)> {
        temperatures.as_slice().iter().map(|one| (one.name.as_str(), one.celsius.get())).collect()
    }

    fn zones(root: &Path) -> ThermalZones {
        ThermalZones { root: root.to_owned(), period: Duration::from_millis(10) }
    }

    fn read(root: &TempDir) -> Temperatures {
        zones(root.path()).read()
    }

    #[test]
    fn zones_are_read_by_their_numbers_in_degrees() {
        let root = tempfile::tempdir().unwrap();
        zone(&root, 10, "tj-thermal", "50968\n");
        zone(&root, 0, "cpu-thermal", "48531\n");
        zone(&root, 2, "ACPI thermal zone", "-5000\n");
        fs::create_dir(root.path().join("cooling_device0")).unwrap();
        fs::write(root.path().join("thermal_zones"), "no zone").unwrap();
        let expected = [("cpu-thermal", 48.531), ("ACPI thermal zone", -5.0), ("tj-thermal", 50.968)];
        assert_eq!(told(&read(&root)), expected);
    }

    #[test]
    fn a_zone_that_is_off_or_says_nonsense_is_left_out_and_stops_no_other() {
        let root = tempfile::tempdir().unwrap();
        for (number, nonsense) in ["", "\n", "-256000", "-274000", "99999999999", "hot", "48.5"].iter().enumerate() {
            zone(&root, u32::try_from(number).unwrap(), &format!("off{number}"), nonsense);
        }
        // A folder can be opened and not be read, as a zone that answers with an error.
        fs::create_dir_all(root.path().join("thermal_zone20/temp")).unwrap();
        fs::create_dir_all(root.path().join("thermal_zone21")).unwrap();
        fs::write(root.path().join("thermal_zone22"), "no folder").unwrap();
        zone(&root, 30, "gpu-thermal", "45000");
        assert_eq!(told(&read(&root)), [("gpu-thermal", 45.0)]);
    }

    #[test]
    fn each_zone_has_a_name_of_its_own_that_another_which_goes_off_does_not_change() {
        let root = tempfile::tempdir().unwrap();
        zone(&root, 0, "acpitz", "40000");
        zone(&root, 1, "acpitz", "41000");
        zone(&root, 2, "acpitz-2", "42000");
        zone(&root, 3, "", "43000");
        let names = |read: &Temperatures| told(read).iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(names(&read(&root)), ["acpitz", "acpitz-2", "acpitz-2-2", "thermal_zone3"]);
        zone(&root, 0, "acpitz", "");
        assert_eq!(told(&read(&root))[0], ("acpitz-2", 41.0));
    }

    #[test]
    fn a_machine_with_many_zones_tells_of_the_first_and_one_without_any_of_none() {
        let root = tempfile::tempdir().unwrap();
        (0..100).for_each(|number| zone(&root, number, &format!("core{number}"), "40000"));
        let all = read(&root);
        assert_eq!((all.as_slice().len(), told(&all)[31]), (MAX_TEMPERATURES, ("core31", 40.0)));
        assert!(zones(&root.path().join("nowhere")).read().is_empty());
    }

    #[tokio::test]
    async fn a_report_carries_what_the_sensors_say_by_then() {
        let root = tempfile::tempdir().unwrap();
        zone(&root, 0, "CPU-therm", "48531");
        let vitals = Arc::new(Vitals::new(root.path().to_owned()));
        let stop = CancellationToken::new();
        let watching = tokio::spawn(zones(root.path()).watch(Arc::clone(&vitals), stop.clone()));
        let report = || vitals.report(UtcMillis::from_millis(0), OutboxHealth::default(), Vec::new()).temperatures;
        eventually("it is told", || told(&report()) == [("CPU-therm", 48.531)]).await;
        zone(&root, 0, "CPU-therm", "91000");
        eventually("it is told", || told(&report()) == [("CPU-therm", 91.0)]).await;
        zone(&root, 0, "CPU-therm", "");
        eventually("it is told", || report().is_empty()).await;
        stop.cancel();
        watching.await.unwrap();
    }
}
