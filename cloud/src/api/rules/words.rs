//! The words of alert rules in the API: kinds, gates, severities and the like.

use poem_openapi::Enum;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The API's form of a value that has the same words; `None` only when a word was forgotten here, which a test shows.
pub(in crate::api) fn in_words<T: DeserializeOwned>(value: &impl Serialize) -> Option<T> {
    serde_json::to_value(value).and_then(serde_json::from_value).ok()
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident { $($(#[$member_doc:meta])* $member:ident,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Enum)]
        #[serde(rename_all = "snake_case")]
        #[oai(rename_all = "snake_case")]
        pub(in crate::api) enum $name { $($(#[$member_doc])* $member,)* }
    )*};
}

names! {
    /// What a rule waits for.
    RuleKind {
        /// A track did something in a zone or at a line.
        Zone,
        /// A report about a track.
        Detection,
        /// The edge raised an alert by itself.
        EdgeAlert,
        /// The edge has not been heard of for longer than its time-out.
        EdgeOffline,
        /// The edge is heard of again.
        EdgeOnline,
        /// A camera has come into another state.
        CameraState,
        /// The footage of a camera will be kept for so many days.
        DiskForecast,
        /// A sensor of an edge measured a temperature.
        Temperature,
        /// A span without video.
        RecordingGap,
        /// The identity of an edge is used twice.
        TakeOver,
    }
    /// How urgent an alert is.
    AlertSeverity {
        /// Worth knowing.
        Info,
        /// Look at it today.
        Warning,
        /// Look at it now.
        Critical,
    }
    /// What a track does in a zone.
    ZoneAction {
        /// Comes in.
        Enter,
        /// Goes out, or is lost inside.
        Exit,
        /// Has been inside for the zone's dwell time.
        Dwell,
        /// Crosses a line.
        Cross,
        /// Makes the zone hold as many objects as its occupancy asks for.
        Occupied,
        /// Leaves the zone with fewer.
        Cleared,
    }
    /// The way over a line, seen from its first to its second point.
    LineDirection {
        /// From the left side to the right side.
        LeftToRight,
        /// From the right side to the left side.
        RightToLeft,
    }
    /// What a camera is doing.
    CameraStateName {
        /// It is being connected.
        Connecting,
        /// Frames arrive.
        Streaming,
        /// It has failed and is tried again.
        Retrying,
        /// It is switched off.
        Disabled,
    }
    /// Whose fault a span without video is.
    GapFault {
        /// The camera sent nothing.
        Camera,
        /// The camera could not be reached.
        Network,
        /// The disk took nothing.
        Disk,
        /// The appliance was not running.
        Restart,
        /// The appliance was at fault.
        Internal,
        /// It was switched off on purpose.
        SwitchedOff,
        /// It was deleted.
        Deleted,
    }
    /// A day of the week.
    DayOfWeek {
        /// Monday.
        Mon,
        /// Tuesday.
        Tue,
        /// Wednesday.
        Wed,
        /// Thursday.
        Thu,
        /// Friday.
        Fri,
        /// Saturday.
        Sat,
        /// Sunday.
        Sun,
    }
    /// What is counted for.
    #[derive(Default)]
    PerWhat {
        /// Each zone of each camera by itself.
        Zone,
        /// Each camera by itself.
        #[default]
        Camera,
        /// Each edge by itself.
        Edge,
        /// All together.
        Rule,
    }
    /// What can stop an alert.
    AlertGate {
        /// The rule waits for something else.
        Kind,
        /// The edge.
        Edge,
        /// The camera.
        Camera,
        /// The zone.
        Zone,
        /// The class.
        Class,
        /// What was done in the zone.
        EventType,
        /// The way over the line.
        Direction,
        /// The type of the edge's alert.
        AlertType,
        /// The camera's state.
        CameraState,
        /// The gap's cause.
        GapCause,
        /// The sensor.
        Sensor,
        /// The detector's confidence against the least.
        Confidence,
        /// Milliseconds inside, or since first seen, against the least.
        Dwell,
        /// Km/h against the least.
        Speed,
        /// Days of footage against the bound.
        Days,
        /// Degrees Celsius against the bound.
        Celsius,
        /// Seconds without video against the least.
        GapLength,
        /// Seconds in the camera's state against the least.
        Lasted,
        /// Whether the object is at rest.
        Stationary,
        /// The clock of the rule's time zone against its schedule.
        Schedule,
        /// How often it happened.
        Repeated,
        /// Whether there is an alert of this very thing.
        Once,
        /// How long ago the nearest alert is.
        Cooldown,
    }
}
