-- As 0040, without a walk over all old events for each batch, with the raw pages of imported catalogues and what runs leave.
-- Throws away old rows of one kind: a small batch, oldest first, in whichever organization has some, never waiting for a lock. One process at a
-- time: the advisory lock is the lease, and ends with the transaction. Ids are time-ordered (UUIDv7), so that the primary key finds the oldest.
-- @returns rows deleted; null: another process is at it.
create or replace function system_prune(p_kind text, p_before timestamptz, p_limit integer) returns integer
  language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
declare
  org uuid;
  gone integer := 0;
  batch integer;
  oldest uuid := rpad(lpad(to_hex((extract(epoch from p_before) * 1000)::bigint), 12, '0'), 32, '0')::uuid;
begin
  if not pg_try_advisory_xact_lock(hashtextextended('syncstate.prune', 0)) then
    return null;
  end if;
  for org in select o.org_id from organizations o order by o.org_id loop
    case p_kind
      when 'outside_calls' then
        delete from outside_calls x where x.org_id = org and x.id in (
          select y.id from outside_calls y where y.org_id = org and y.at < p_before order by y.at limit p_limit - gone for update skip locked);
      when 'inbox' then
        delete from inbox x where x.org_id = org and x.id in (
          select y.id from inbox y where y.org_id = org and y.id < oldest and y.state in ('done', 'superseded', 'duplicate') and y.received_at < p_before
          order by y.id limit p_limit - gone for update skip locked);
      when 'idempotency_keys' then
        delete from idempotency_keys x where x.org_id = org and x.ctid = any (array(
          select y.ctid from idempotency_keys y where y.org_id = org and y.created_at < p_before limit p_limit - gone for update skip locked));
      when 'events' then
        delete from events x where x.org_id = org and x.seq in (
          select y.seq from (
            -- Their numbers rise with time, nearly: the lowest ones are looked at, not all that are old.
            select e.seq, e.at from events e where e.org_id = org order by e.seq limit p_limit - gone for update skip locked) y where y.at < p_before);
      when 'observations' then
        -- The newest of each target stays: it is what we know.
        delete from observations x where x.org_id = org and x.id in (
          select y.id from observations y where y.org_id = org and y.id < oldest and y.recorded_at < p_before and exists (
            select from observations n where n.org_id = org and n.target_id = y.target_id and n.vendor_at > y.vendor_at)
          order by y.id limit p_limit - gone for update skip locked);
      when 'attempts' then
        -- Open ones stay whatever their age, and the newest of each target.
        delete from attempts x where x.org_id = org and x.id in (
          select y.id from attempts y where y.org_id = org and y.id < oldest and y.sent_at < p_before and y.outcome is not null and y.outcome <> 'unknown'
            and exists (select from attempts n where n.org_id = org and n.target_id = y.target_id and n.sent_at > y.sent_at)
          order by y.id limit p_limit - gone for update skip locked);
      when 'import_files' then
        delete from import_files x where x.org_id = org and x.id in (
          select y.id from import_files y where y.org_id = org and y.created_at < p_before order by y.id limit p_limit - gone for update skip locked);
      when 'catalog_pages' then
        -- A channel's raw answers; what came of them stays, and so does what undoing needs (catalog_items).
        delete from catalog_pages x where x.org_id = org and x.ctid = any (array(
          select y.ctid from catalog_pages y where y.org_id = org and y.fetched_at < p_before limit p_limit - gone for update skip locked));
      when 'run_files' then
        delete from run_files x where x.org_id = org and x.ctid = any (array(
          select y.ctid from run_files y join runs r on r.org_id = org and r.id = y.run_id and r.finished_at < p_before
          where y.org_id = org limit p_limit - gone for update of y skip locked));
      when 'run_items' then
        -- The run itself stays, with its counts.
        delete from run_items x where x.org_id = org and x.ctid = any (array(
          select y.ctid from runs r join run_items y on y.org_id = org and y.run_id = r.id
          where r.org_id = org and r.finished_at < p_before limit p_limit - gone for update of y skip locked));
      else
        raise exception 'nothing is known of pruning %', p_kind;
    end case;
    get diagnostics batch = row_count;
    gone := gone + batch;
    exit when gone >= p_limit;
  end loop;
  return gone;
end $$;
