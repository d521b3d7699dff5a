//! The difference between the cameras that run and those that should.

use std::collections::{BTreeMap, BTreeSet};

use aivms_appliance_core::rules::CameraRules;
use aivms_contract::id::CameraId;

use super::desired::Wanted;

/// One step towards what is wanted. A camera that no step names is not touched.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Stop a camera that is gone, switched off, or about to be started anew.
    Stop(CameraId),
    /// Start a camera.
    Start(Box<Wanted>),
    /// Judge by other rules from the next frame on; the stream goes on.
    ReplaceRules(CameraId, CameraRules),
}

/// Plans the way from `running` to `wanted`: all stops first, so that devices and addresses are free again.
#[must_use]
pub fn plan(running: &BTreeMap<CameraId, Wanted>, wanted: &[Wanted]) -> Vec<Step> {
    let enabled = || wanted.iter().filter(|wanted| wanted.camera.enabled);
    let stays: BTreeSet<_> = enabled()
        .filter(|wanted| running.get(&wanted.camera.id).is_some_and(|now| differs_in_rules_only(now, wanted)))
        .map(|wanted| &wanted.camera.id)
        .collect();
    let stops = running.keys().filter(|id| !stays.contains(id)).cloned().map(Step::Stop);
    let others = enabled().filter_map(|wanted| match running.get(&wanted.camera.id) {
        Some(_) if !stays.contains(&wanted.camera.id) => Some(Step::Start(Box::new(wanted.clone()))),
        Some(now) if rules(now) == rules(wanted) => None,
        Some(_) => Some(Step::ReplaceRules(wanted.camera.id.clone(), rules(wanted))),
        None => Some(Step::Start(Box::new(wanted.clone()))),
    });
    stops.chain(others).collect()
}

fn rules(wanted: &Wanted) -> CameraRules {
    CameraRules::of(&wanted.camera, &wanted.time_zone)
}

/// Whether only what does not concern the connection differs, if anything.
fn differs_in_rules_only(running: &Wanted, wanted: &Wanted) -> bool {
    let mut same = running.clone();
    let (camera, like) = (&mut same.camera, &wanted.camera);
    (camera.zones, camera.lines) = (like.zones.clone(), like.lines.clone());
    (camera.masks, camera.filters) = (like.masks.clone(), like.filters.clone());
    camera.name.clone_from(&like.name);
    // Whether there is sound is in `audio`; how long it is all kept, and what of it nobody may see, is none of the stream's.
    camera.recording.clone_from(&like.recording);
    camera.privacy_masks.clone_from(&like.privacy_masks);
    same.time_zone = wanted.time_zone.clone();
    same == *wanted
}

#[cfg(test)]
mod tests {
    use super::*;
    use aivms_appliance_core::schedule::SiteZone;
    use proptest::prelude::*;

    fn wanted(id: &str, url: &str, zone: Option<&str>, enabled: bool) -> Wanted {
        let zones = zone.map(|id| serde_json::json!({"id": id, "polygon": [[0, 0], [1, 0], [0, 1]]}));
        let zones: Vec<_> = zones.into_iter().collect();
        let camera = serde_json::json!({"id": id, "url": url, "enabled": enabled, "zones": zones});
        let camera = serde_json::from_value(camera).unwrap();
        Wanted {
            camera,
            detection_fps: 5.0,
            confidence: 0.5,
            classes: Vec::new(),
            time_zone: SiteZone::default(),
            audio: false,
        }
    }

    fn running(wanted: &[Wanted]) -> BTreeMap<CameraId, Wanted> {
        wanted.iter().map(|wanted| (wanted.camera.id.clone(), wanted.clone())).collect()
    }

    #[test]
    fn a_camera_that_is_wanted_as_it_runs_is_not_touched() {
        let both = [wanted("a", "rtsp://h/1", Some("z"), true), wanted("b", "rtsp://h/2", None, true)];
        assert_eq!(plan(&running(&both), &both), []);
    }

    #[test]
    fn new_zones_do_not_interrupt_the_stream_and_a_new_address_restarts_only_that_camera() {
        let now = running(&[wanted("a", "rtsp://h/1", None, true), wanted("b", "rtsp://h/2", None, true)]);
        let next = [wanted("a", "rtsp://h/1", Some("z"), true), wanted("b", "rtsp://h/3", None, true)];
        let [Step::Stop(stopped), Step::ReplaceRules(zoned, rules), Step::Start(started)] = &plan(&now, &next)[..]
        else {
            panic!("{:?}", plan(&now, &next));
        };
        assert_eq!((stopped.as_str(), zoned.as_str(), rules.zones.len()), ("b", "a", 1));
        assert_eq!(started.camera.url, "rtsp://h/3");
    }

    #[test]
    fn lines_masks_filters_and_the_time_zone_change_without_a_new_connection() {
        let before = wanted("a", "rtsp://h/1", Some("z"), true);
        let corners = [[0.1, 0.1], [0.9, 0.1], [0.9, 0.9]];
        let (mut line, mut mask, mut filter, mut zone) =
            (before.clone(), before.clone(), before.clone(), before.clone());
        let lines = serde_json::json!([{"id": "door", "from": [0.5, 1.0], "to": [0.5, 0.0]}]);
        line.camera.lines = serde_json::from_value(lines).unwrap();
        mask.camera.masks = serde_json::from_value(serde_json::json!([{"polygon": corners}])).unwrap();
        filter.camera.filters = serde_json::from_value(serde_json::json!([{"min_confidence": 0.7}])).unwrap();
        zone.time_zone = SiteZone::of(Some(&"Europe/Berlin".to_owned().try_into().unwrap())).unwrap();
        for after in [line, mask, filter, zone] {
            let steps = plan(&running(std::slice::from_ref(&before)), std::slice::from_ref(&after));
            assert_eq!(steps, [Step::ReplaceRules(after.camera.id.clone(), rules(&after))]);
        }
    }

    #[test]
    fn a_switched_off_camera_is_stopped() {
        let now = running(&[wanted("a", "rtsp://h/1", None, true)]);
        let next = [wanted("a", "rtsp://h/1", None, false)];
        assert_eq!(plan(&now, &next), [Step::Stop("a".parse().unwrap())]);
    }

    fn sets() -> impl Strategy<Value = Vec<Wanted>> {
        let camera = (0..5u8, 0..3u8, 0..3u8, any::<bool>());
        proptest::collection::vec(camera, 0..6).prop_map(|cameras| {
            let mut by_id = BTreeMap::new();
            for (id, url, zone, enabled) in cameras {
                let zone = (zone > 0).then(|| format!("z{zone}"));
                let one = wanted(&format!("c{id}"), &format!("rtsp://h/{url}"), zone.as_deref(), enabled);
                by_id.insert(id, one);
            }
            by_id.into_values().collect()
        })
    }

    proptest! {
        #[test]
        fn following_the_plan_leads_to_what_is_wanted(first in sets(), second in sets()) {
            let mut now: BTreeMap<_, _> = running(&first).into_iter().filter(|(_, w)| w.camera.enabled).collect();
            for step in plan(&now, &second) {
                match step {
                    Step::Stop(id) => prop_assert!(now.remove(&id).is_some()),
                    Step::Start(wanted) => prop_assert!(now.insert(wanted.camera.id.clone(), *wanted).is_none()),
                    Step::ReplaceRules(id, rules) => {
                        let running = now.get_mut(&id).unwrap();
                        running.camera.zones = rules.zones.try_into().unwrap();
                        running.camera.lines = rules.lines.try_into().unwrap();
                        (running.camera.masks, running.camera.filters) = (rules.masks, rules.filters);
                        running.time_zone = rules.time_zone;
                    }
                }
            }
            let enabled: Vec<_> = second.iter().filter(|w| w.camera.enabled).cloned().collect();
            prop_assert_eq!(&now, &running(&enabled));
            prop_assert_eq!(plan(&now, &second), []);
        }
    }
}
