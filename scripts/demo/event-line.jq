# One line of the terminal for each event of the live feed; comments and other fields of the stream are passed over.

def clock: (.[0:19] + "Z" | fromdateiso8601 | localtime | strftime("%H:%M:%S")) + .[19:23];

select(startswith("data:")) | .[5:] | fromjson | (.body // .) as $event
| if $event.zone_id then
    "\($event.timestamp | clock)  zone \($event.zone_id)  \($event.event_type | ascii_upcase)  "
    + "\($event.object_class)  \($event.track_id)"
    + if $event.dwell_ms then "  after \($event.dwell_ms / 100 | round / 10) s" else "" end
  elif $event.track_id then
    "\($event.timestamp | clock)  track \($event.track_id)  \($event.phase)  \($event.object_class)"
    + "  \($event.confidence * 100 | round) %"
  else
    "\(.at // $event.timestamp | clock)  \(.kind)"
  end
