-- Disclosure-safe views of mail, with the floor, the barrier and the parameters of 0003_safe_views.sql. direction: '' is all
-- together. The floor is for the people and messages of a row; forwarded, identity_numbers and sensitive may be fewer
-- people's, so a month's count below the floor is shown as 0.

CREATE OR REPLACE VIEW mail_by_hour
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT hour, max(people) AS people, sum(length(all_messages.1)) AS messages, sum(arraySum(all_messages.2)) AS bytes,
    sumIf(forwarded, forwarded >= greatest(5, {k:UInt32})) AS forwarded,
    sumIf(identity_numbers, identity_numbers >= greatest(5, {k:UInt32})) AS identity_numbers,
    sumIf(sensitive, sensitive >= greatest(5, {k:UInt32})) AS sensitive
FROM
(
    SELECT hour, toStartOfMonth(day) AS month, uniqExactMerge(people) AS people, maxMap(messages) AS all_messages,
        uniqExactMerge(forwarded) AS forwarded, uniqExactMerge(identity_numbers) AS identity_numbers, uniqExactMerge(sensitive) AS sensitive
    FROM mail_hourly
    WHERE mark = 0 AND population != 'guest'
        AND day BETWEEN {from:Date} AND {to:Date}
        AND ({tenant:String} = '' OR tenant = {tenant:String})
        AND ({population:String} = '' OR population = {population:String})
        AND unit = {unit:String} AND direction = {direction:String} AND category = {category:String}
    GROUP BY hour, month
    HAVING people >= greatest(5, {k:UInt32})
)
GROUP BY hour
HAVING people >= greatest(5, {k:UInt32})
LIMIT 18446744073709551615
COMMENT 'Mail by UTC hour';

CREATE OR REPLACE VIEW mail_by_day
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT day, max(people) AS people, sum(length(all_messages.1)) AS messages, sum(arraySum(all_messages.2)) AS bytes,
    sumIf(forwarded, forwarded >= greatest(5, {k:UInt32})) AS forwarded,
    sumIf(identity_numbers, identity_numbers >= greatest(5, {k:UInt32})) AS identity_numbers,
    sumIf(sensitive, sensitive >= greatest(5, {k:UInt32})) AS sensitive
FROM
(
    SELECT day, toStartOfMonth(day) AS month, uniqExactMerge(people) AS people, maxMap(messages) AS all_messages,
        uniqExactMerge(forwarded) AS forwarded, uniqExactMerge(identity_numbers) AS identity_numbers, uniqExactMerge(sensitive) AS sensitive
    FROM mail_hourly
    WHERE mark = 0 AND population != 'guest'
        AND day BETWEEN {from:Date} AND {to:Date}
        AND ({tenant:String} = '' OR tenant = {tenant:String})
        AND ({population:String} = '' OR population = {population:String})
        AND unit = {unit:String} AND direction = {direction:String} AND category = {category:String}
    GROUP BY day, month
    HAVING people >= greatest(5, {k:UInt32})
)
GROUP BY day
HAVING people >= greatest(5, {k:UInt32})
LIMIT 18446744073709551615
COMMENT 'Mail by local day';

CREATE OR REPLACE VIEW mail_by_unit
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT tenant, unit, max(people) AS people, sum(length(all_messages.1)) AS messages, sum(arraySum(all_messages.2)) AS bytes,
    sumIf(forwarded, forwarded >= greatest(5, {k:UInt32})) AS forwarded,
    sumIf(identity_numbers, identity_numbers >= greatest(5, {k:UInt32})) AS identity_numbers,
    sumIf(sensitive, sensitive >= greatest(5, {k:UInt32})) AS sensitive
FROM
(
    SELECT tenant, unit, toStartOfMonth(day) AS month, uniqExactMerge(people) AS people, maxMap(messages) AS all_messages,
        uniqExactMerge(forwarded) AS forwarded, uniqExactMerge(identity_numbers) AS identity_numbers, uniqExactMerge(sensitive) AS sensitive
    FROM mail_hourly
    WHERE mark = 0 AND population != 'guest'
        AND day BETWEEN {from:Date} AND {to:Date}
        AND ({tenant:String} = '' OR tenant = {tenant:String})
        AND ({population:String} = '' OR population = {population:String})
        AND unit != '' AND ({unit:String} = '' OR unit = {unit:String}) AND direction = {direction:String} AND category = {category:String}
    GROUP BY tenant, unit, month
    HAVING people >= greatest(5, {k:UInt32})
)
GROUP BY tenant, unit
HAVING people >= greatest(5, {k:UInt32})
LIMIT 18446744073709551615
COMMENT 'Mail by unit';

CREATE OR REPLACE VIEW mail_by_direction
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT direction, max(people) AS people, sum(length(all_messages.1)) AS messages, sum(arraySum(all_messages.2)) AS bytes,
    sumIf(forwarded, forwarded >= greatest(5, {k:UInt32})) AS forwarded,
    sumIf(identity_numbers, identity_numbers >= greatest(5, {k:UInt32})) AS identity_numbers,
    sumIf(sensitive, sensitive >= greatest(5, {k:UInt32})) AS sensitive
FROM
(
    SELECT direction, toStartOfMonth(day) AS month, uniqExactMerge(people) AS people, maxMap(messages) AS all_messages,
        uniqExactMerge(forwarded) AS forwarded, uniqExactMerge(identity_numbers) AS identity_numbers, uniqExactMerge(sensitive) AS sensitive
    FROM mail_hourly
    WHERE mark = 0 AND population != 'guest'
        AND day BETWEEN {from:Date} AND {to:Date}
        AND ({tenant:String} = '' OR tenant = {tenant:String})
        AND ({population:String} = '' OR population = {population:String})
        AND unit = {unit:String} AND direction != '' AND ({direction:String} = '' OR direction = {direction:String}) AND category = {category:String}
    GROUP BY direction, month
    HAVING people >= greatest(5, {k:UInt32})
)
GROUP BY direction
HAVING people >= greatest(5, {k:UInt32})
LIMIT 18446744073709551615
COMMENT 'Mail by direction';

CREATE OR REPLACE VIEW mail_by_category
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT category, max(people) AS people, sum(length(all_messages.1)) AS messages, sum(arraySum(all_messages.2)) AS bytes,
    sumIf(forwarded, forwarded >= greatest(5, {k:UInt32})) AS forwarded,
    sumIf(identity_numbers, identity_numbers >= greatest(5, {k:UInt32})) AS identity_numbers,
    sumIf(sensitive, sensitive >= greatest(5, {k:UInt32})) AS sensitive
FROM
(
    SELECT category, toStartOfMonth(day) AS month, uniqExactMerge(people) AS people, maxMap(messages) AS all_messages,
        uniqExactMerge(forwarded) AS forwarded, uniqExactMerge(identity_numbers) AS identity_numbers, uniqExactMerge(sensitive) AS sensitive
    FROM mail_hourly
    WHERE mark = 0 AND population != 'guest'
        AND day BETWEEN {from:Date} AND {to:Date}
        AND ({tenant:String} = '' OR tenant = {tenant:String})
        AND ({population:String} = '' OR population = {population:String})
        AND unit = {unit:String} AND direction = {direction:String} AND category != '' AND ({category:String} = '' OR category = {category:String})
    GROUP BY category, month
    HAVING people >= greatest(5, {k:UInt32})
)
GROUP BY category
HAVING people >= greatest(5, {k:UInt32})
LIMIT 18446744073709551615
COMMENT 'Mail by category of the other side';

CREATE OR REPLACE VIEW mail_by_domain
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT domain, category, max(people) AS people, sum(length(all_messages.1)) AS messages, sum(arraySum(all_messages.2)) AS bytes,
    sumIf(forwarded, forwarded >= greatest(5, {k:UInt32})) AS forwarded,
    sumIf(identity_numbers, identity_numbers >= greatest(5, {k:UInt32})) AS identity_numbers,
    sumIf(sensitive, sensitive >= greatest(5, {k:UInt32})) AS sensitive
FROM
(
    SELECT domain, category, toStartOfMonth(day) AS month, uniqExactMerge(people) AS people, maxMap(messages) AS all_messages,
        uniqExactMerge(forwarded) AS forwarded, uniqExactMerge(identity_numbers) AS identity_numbers, uniqExactMerge(sensitive) AS sensitive
    FROM mail_domains_daily
    WHERE mark = 0 AND population != 'guest'
        AND day BETWEEN {from:Date} AND {to:Date}
        AND ({tenant:String} = '' OR tenant = {tenant:String})
        AND ({population:String} = '' OR population = {population:String})
        AND unit = {unit:String} AND direction = {direction:String} AND ({category:String} = '' OR category = {category:String})
    GROUP BY domain, category, month
    HAVING people >= greatest(5, {k:UInt32})
)
GROUP BY domain, category
HAVING people >= greatest(5, {k:UInt32})
LIMIT 18446744073709551615
COMMENT 'Mail by domain of the other side';
