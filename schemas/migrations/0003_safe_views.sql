-- Disclosure-safe views: the only door to the statistics for reports and dashboards. A row that fewer people than the floor
-- made requests in is not there, and looks like a row that never was. The floor is compiled here; {k} can only raise it.
-- It holds in each month of the period by itself: a month below it adds nothing, so two periods that differ by months show
-- nothing of a month that has too few people. Periods that differ by days of one month are not kept apart so.
-- People are counted exactly within a month. Over several months a person has several tokens, so the largest month
-- counts: a lower bound. Guests have no people and are in web_guest_volume only, which has no floor: it is volume only.
-- The floor is for the requests of a row. Blocked requests may come from fewer people than the row has.
-- LIMIT is the largest number there is, so it cuts nothing. It is a barrier: without it a reader's own condition is
-- evaluated before the floor, and an error that it throws quotes what the floor keeps back.
-- Parameters: from, to: first and last local day; tenant, population: '' is all; unit, category: '' is all together.

CREATE OR REPLACE VIEW web_by_hour
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT hour, sum(requests) AS requests, sum(blocked) AS blocked, sum(bytes_in) AS bytes_in, sum(bytes_out) AS bytes_out,
    max(people) AS people, sum(active_slots) AS active_slots
FROM
(
    SELECT hour, toStartOfMonth(day) AS month,
        sum(requests) AS requests, sum(blocked) AS blocked, sum(bytes_in) AS bytes_in, sum(bytes_out) AS bytes_out,
        uniqExactMerge(people) AS people, uniqExactMerge(active_slots) AS active_slots
    FROM web_hourly
    WHERE mark = 0 AND population != 'guest'
        AND day BETWEEN {from:Date} AND {to:Date}
        AND ({tenant:String} = '' OR tenant = {tenant:String})
        AND ({population:String} = '' OR population = {population:String})
        AND unit = {unit:String} AND category = {category:String}
    GROUP BY hour, month
    HAVING people >= greatest(5, {k:UInt32})
)
GROUP BY hour
HAVING people >= greatest(5, {k:UInt32})
LIMIT 18446744073709551615
COMMENT 'Web use by UTC hour';

CREATE OR REPLACE VIEW web_by_day
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT day, sum(requests) AS requests, sum(blocked) AS blocked, sum(bytes_in) AS bytes_in, sum(bytes_out) AS bytes_out,
    max(people) AS people, sum(active_slots) AS active_slots
FROM
(
    SELECT day, toStartOfMonth(day) AS month,
        sum(requests) AS requests, sum(blocked) AS blocked, sum(bytes_in) AS bytes_in, sum(bytes_out) AS bytes_out,
        uniqExactMerge(people) AS people, uniqExactMerge(active_slots) AS active_slots
    FROM web_hourly
    WHERE mark = 0 AND population != 'guest'
        AND day BETWEEN {from:Date} AND {to:Date}
        AND ({tenant:String} = '' OR tenant = {tenant:String})
        AND ({population:String} = '' OR population = {population:String})
        AND unit = {unit:String} AND category = {category:String}
    GROUP BY day, month
    HAVING people >= greatest(5, {k:UInt32})
)
GROUP BY day
HAVING people >= greatest(5, {k:UInt32})
LIMIT 18446744073709551615
COMMENT 'Web use by local day';

CREATE OR REPLACE VIEW web_by_unit
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT tenant, unit, sum(requests) AS requests, sum(blocked) AS blocked, sum(bytes_in) AS bytes_in, sum(bytes_out) AS bytes_out,
    max(people) AS people, sum(active_slots) AS active_slots
FROM
(
    SELECT tenant, unit, toStartOfMonth(day) AS month,
        sum(requests) AS requests, sum(blocked) AS blocked, sum(bytes_in) AS bytes_in, sum(bytes_out) AS bytes_out,
        uniqExactMerge(people) AS people, uniqExactMerge(active_slots) AS active_slots
    FROM web_hourly
    WHERE mark = 0 AND population != 'guest'
        AND day BETWEEN {from:Date} AND {to:Date}
        AND ({tenant:String} = '' OR tenant = {tenant:String})
        AND ({population:String} = '' OR population = {population:String})
        AND unit != '' AND ({unit:String} = '' OR unit = {unit:String}) AND category = {category:String}
    GROUP BY tenant, unit, month
    HAVING people >= greatest(5, {k:UInt32})
)
GROUP BY tenant, unit
HAVING people >= greatest(5, {k:UInt32})
LIMIT 18446744073709551615
COMMENT 'Web use by unit';

CREATE OR REPLACE VIEW web_by_category
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT category, sum(requests) AS requests, sum(blocked) AS blocked, sum(bytes_in) AS bytes_in, sum(bytes_out) AS bytes_out,
    max(people) AS people, sum(active_slots) AS active_slots
FROM
(
    SELECT category, toStartOfMonth(day) AS month,
        sum(requests) AS requests, sum(blocked) AS blocked, sum(bytes_in) AS bytes_in, sum(bytes_out) AS bytes_out,
        uniqExactMerge(people) AS people, uniqExactMerge(active_slots) AS active_slots
    FROM web_hourly
    WHERE mark = 0 AND population != 'guest'
        AND day BETWEEN {from:Date} AND {to:Date}
        AND ({tenant:String} = '' OR tenant = {tenant:String})
        AND ({population:String} = '' OR population = {population:String})
        AND unit = {unit:String} AND category != '' AND ({category:String} = '' OR category = {category:String})
    GROUP BY category, month
    HAVING people >= greatest(5, {k:UInt32})
)
GROUP BY category
HAVING people >= greatest(5, {k:UInt32})
LIMIT 18446744073709551615
COMMENT 'Web use by category';

CREATE OR REPLACE VIEW web_by_domain
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT domain, category, sum(requests) AS requests, sum(blocked) AS blocked, sum(bytes_in) AS bytes_in, sum(bytes_out) AS bytes_out,
    max(people) AS people, sum(active_slots) AS active_slots
FROM
(
    SELECT domain, category, toStartOfMonth(day) AS month,
        sum(requests) AS requests, sum(blocked) AS blocked, sum(bytes_in) AS bytes_in, sum(bytes_out) AS bytes_out,
        uniqExactMerge(people) AS people, uniqExactMerge(active_slots) AS active_slots
    FROM web_domains_daily
    WHERE mark = 0 AND population != 'guest'
        AND day BETWEEN {from:Date} AND {to:Date}
        AND ({tenant:String} = '' OR tenant = {tenant:String})
        AND ({population:String} = '' OR population = {population:String})
        AND unit = {unit:String} AND ({category:String} = '' OR category = {category:String})
    GROUP BY domain, category, month
    HAVING people >= greatest(5, {k:UInt32})
)
GROUP BY domain, category
HAVING people >= greatest(5, {k:UInt32})
LIMIT 18446744073709551615
COMMENT 'Web use by domain';

CREATE OR REPLACE VIEW web_by_country
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT country, sum(requests) AS requests, sum(blocked) AS blocked, sum(bytes_in) AS bytes_in, sum(bytes_out) AS bytes_out,
    max(people) AS people, sum(active_slots) AS active_slots
FROM
(
    SELECT country, toStartOfMonth(day) AS month,
        sum(requests) AS requests, sum(blocked) AS blocked, sum(bytes_in) AS bytes_in, sum(bytes_out) AS bytes_out,
        uniqExactMerge(people) AS people, uniqExactMerge(active_slots) AS active_slots
    FROM web_countries_daily
    WHERE mark = 0 AND population != 'guest'
        AND day BETWEEN {from:Date} AND {to:Date}
        AND ({tenant:String} = '' OR tenant = {tenant:String})
        AND ({population:String} = '' OR population = {population:String})
        AND unit = {unit:String} AND {category:String} = ''
    GROUP BY country, month
    HAVING people >= greatest(5, {k:UInt32})
)
GROUP BY country
HAVING people >= greatest(5, {k:UInt32})
LIMIT 18446744073709551615
COMMENT 'Web use by country of the destination; it is not known by category';

-- Volume only: nobody is counted, so there is no floor and nothing to keep a reader's condition from.
CREATE OR REPLACE VIEW web_guest_volume
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT tenant, day, sum(requests) AS requests, sum(blocked) AS blocked, sum(bytes_in) AS bytes_in, sum(bytes_out) AS bytes_out
FROM web_hourly
WHERE mark = 0 AND population = 'guest' AND unit = '' AND category = ''
    AND day BETWEEN {from:Date} AND {to:Date}
    AND ({tenant:String} = '' OR tenant = {tenant:String})
GROUP BY tenant, day
COMMENT 'Volume of the open guest network by local day, volume only: nobody is counted, so no row is hidden';
