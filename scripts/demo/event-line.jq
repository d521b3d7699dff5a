# Reads the live feed, server-sent events, and gives one line for each event. Run with --raw-input --null-input.

def clock: (.[0:19] + "Z" | fromdateiso8601 | localtime | strftime("%H:%M:%S")) + .[19:23];

def line($kind):
  if $kind == "zone-events" then
    "\(.timestamp | clock)  zone \(.zone_id)  \(.event_type | ascii_upcase)  \(.object_class)  \(.track_id)"
    + if .dwell_ms then "  after \(.dwell_ms / 100 | round / 10) s" else "" end
  elif $kind == "detections" then
    "\(.timestamp | clock)  track \(.track_id)  \(.phase)  \(.object_class)  \(.confidence * 100 | round) %"
  elif $kind == "clips" then
    "\(.start | clock)  clip \(.clip_id)  \(.camera_id)  \(.duration_ms / 100 | round / 10) s"
  elif $kind == "snapshots" then
    "\(.timestamp | clock)  snapshot \(.snapshot_id)  \(.object.object_class // .camera_id)"
  elif $kind == "footage" then
    "\(.timestamp | clock)  footage of \(.camera_id)  \(.event_type)  \(.cause // .reason // "")"
  elif $kind == "reset" then
    .reason
  else
    "\(.timestamp // .start | clock)  \($kind) of \(.edge_id)"
  end;

# A line is a field, text before the first colon, with one space after it that belongs to nothing; an empty line ends an
# event.
foreach inputs as $line ({fields: {}};
  if $line == "" then {fields: {}, event: .fields}
  else {fields: (.fields + ($line | [capture("^(?<key>[a-z]+): ?(?<value>.*)$")] | from_entries))} end;
  .event | select(. and .event and .data != "") | .event as $kind | .data | fromjson | line($kind))
