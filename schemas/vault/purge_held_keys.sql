-- Which keys are held on some days: what may be served of days that were purged.
SELECT DISTINCT kind, day, key FROM held_keys WHERE tenant = {tenant:String} AND day BETWEEN {from:Date} AND {to:Date}
