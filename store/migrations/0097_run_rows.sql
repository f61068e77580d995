-- The rows of a run's file, read and checked, until their steps are done (store/runs/rows.ts): so that a file of any size takes
-- no more memory than a step. Gone when the run has ended.
create table run_rows (
  org_id uuid not null,
  -- No foreign key: whoever stores rows holds the run's own row, and 50,000 look-ups cost as much as storing them.
  run_id uuid not null,
  -- 0, or 1: after all of phase 0. All rows of a SKU have the same.
  phase smallint not null,
  -- Where the first row of the same SKU stands; rows of one place share a step.
  place integer not null,
  -- The row of its file, the header being 1; and which of the things that this row says.
  item integer not null,
  turn integer not null,
  sku text,
  -- Of run and SKU together: what looks for a SKU can go no other way than by the index below. By run_id and sku the planner may
  -- go through all rows of the run, of whom it knows nothing yet.
  key uuid,
  -- What the row says, or why it is refused.
  says json,
  refused json,
  primary key (org_id, run_id, phase, place, item, turn)
);
-- Where a SKU stands first.
create index run_rows_first on run_rows (org_id, key) where item = place and key is not null;
call tenant_table('run_rows');

-- As in 0082, and the rows above: those that a process left which died at the end of a run.
create or replace function system_prune(p_kind text, p_before timestamptz, p_limit integer) returns integer
  language plpgsql as $$
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
        delete from events x where x.org_id = org and (x.tx, x.seq) in (
          select y.tx, y.seq from (
            -- Their order is that of time, nearly: the first ones are looked at, not all that are old.
            select e.tx, e.seq, e.at from events e where e.org_id = org order by e.tx, e.seq limit p_limit - gone for update skip locked) y where y.at < p_before);
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
      when 'run_rows' then
        delete from run_rows x where x.org_id = org and x.ctid = any (array(
          select y.ctid from runs r join run_rows y on y.org_id = org and y.run_id = r.id
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
call system_function('system_prune(text, timestamptz, integer)');
