-- Postgres plans what a function does with the values at hand as long as it thinks that this gives a
-- cheaper plan, and of finance_rules, whose one row it never counts, it thinks that there are many. So
-- each settled recording had the statement that counts it planned anew, which took six times as long
-- as the statement.

ALTER FUNCTION archiver.count_changed() SET plan_cache_mode = 'force_generic_plan';
