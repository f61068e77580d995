-- Refused numbers of a connection, counted for its one alert and listed among what waits for a person.
create index targets_rejected on targets (org_id, connection_id) where state = 'rejected';
-- Open alerts of one kind: few, whatever was resolved before.
create index alerts_open_kind on alerts (org_id, kind) where resolved_at is null;
