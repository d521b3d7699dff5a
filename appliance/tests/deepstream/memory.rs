//! What is held and freed; `scripts/check-memory` runs these under valgrind, so they are short.

use aivms_contract::geometry::FrameSize;

use crate::site::{Camera, Site, bright, cache};
use crate::video::{demo, light};

const SIZE: FrameSize = FrameSize { width: 320, height: 180 };

/// Runs two cameras, of which one leaves before the other and comes back.
#[tokio::test(flavor = "multi_thread")]
async fn a_short_run_leaves_no_output_of_the_network_behind() {
    let site = Site::new(&bright());
    let engine = site.engine();
    let done = tokio::task::spawn_blocking(move || {
        let (street, light) = (demo(&cache("video/vtest.avi"), 12), light(4, SIZE));
        let mut steady = Camera::connect(&engine, "street", &street[0], 10.0);
        let mut followed = 0;
        for pictures in street.chunks(4) {
            let mut other = Camera::connect(&engine, "light", &light[0], 60.0);
            pictures.iter().for_each(|unit| drop(steady.show(unit).unwrap()));
            let seen = light.iter().map(|unit| other.show(unit));
            followed += seen.flatten().filter(|seen| !seen.objects.is_empty()).count();
        }
        assert_eq!(followed, 9, "the light is followed from its second picture on, at each visit");
        drop(steady);
        drop(engine);
    });
    done.await.unwrap();
    assert_eq!(aivms_deepstream::tensors_alive(), 0);
}
