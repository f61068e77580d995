-- While units of unknown place are open among a stock key's numbers, one of them may pass for another's sale: which number lacks a
-- sale we do not know is then only known for all of them together.
alter table unplaced_effects
  -- Vendor time of a number that was lower than they explain; until orders are known past it nothing of the stock key is raised.
  add column unexplained_at timestamptz;
