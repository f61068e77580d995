-- Why a run failed as a whole, as a code of docs/errors.md, beside the words; null: it did not, or the release before this one said so.
alter table runs add column error_code text;
