-- The store has these entries: forgets them, and of their threads what is old.
-- KEYS: the log of everything. ARGV: the group, the entry up to which the log is forgotten, the events of a
-- thread that are kept, the generation, how many entries there are, the entries; then for each thread its
-- key and the last `seq` that is stored.

local group, upto, keep, generation, count =
  ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
for i = 6, 5 + count do
  redis.call('XACK', KEYS[1], group, ARGV[i])
end
redis.call('XTRIM', KEYS[1], 'MINID', upto)
for i = 6 + count, #ARGV, 2 do
  local thread, stored = ARGV[i], tonumber(ARGV[i + 1])
  local head = redis.call('HMGET', thread, 'seq', 'base', 'gen', 'stored')
  if head[1] and head[3] == generation and stored <= tonumber(head[1]) then
    if stored > tonumber(head[4] or '0') then
      redis.call('HSET', thread, 'stored', string.format('%.0f', stored))
    end
    local base = stored - keep
    -- A quarter of what is kept at once, not one event each time.
    if base - tonumber(head[2]) >= keep / 4 then
      local cut = string.format('%.0f', base)
      for _, entry in ipairs(redis.call('XRANGE', thread .. ':s', '-', cut)) do
        redis.call('HDEL', thread .. ':i', entry[2][4])
      end
      redis.call('XTRIM', thread .. ':s', 'MINID', string.format('%.0f', base + 1))
      for _, turn in ipairs(redis.call('ZRANGEBYSCORE', thread .. ':e', '-inf', cut)) do
        redis.call('HDEL', thread .. ':u', turn)
      end
      redis.call('ZREMRANGEBYSCORE', thread .. ':e', '-inf', cut)
      redis.call('HSET', thread, 'base', cut)
    end
  end
end
return 1
