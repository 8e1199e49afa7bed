-- Takes up a thread where the store has it, behind every place that may have been given out before.
-- ARGV[2]: the event that says so, where something may be missing.

local head = redis.call('HMGET', THREAD, 'seq', 'gen')
if head[1] and head[2] == op.generation then
  -- More of its places are reserved.
  if op.lim > tonumber(redis.call('HGET', THREAD, 'lim')) then
    redis.call('HSET', THREAD, 'lim', int(op.lim))
  end
  return say({ is = 'done' })
end
-- What the store said may be older than what was moved there, and forgotten here, since.
if not head[1] and evicted ~= op.evicted then
  return say({ is = 'cold', evicted = evicted })
end

local last = tonumber(head[1] or '0')
if head[1] and last >= op.last then
  -- It has all that the store has, and perhaps more.
  redis.call('HSET', THREAD, 'lim', int(op.lim), 'gen', op.generation)
else
  redis.call('DEL', THREAD, EVENTS, TURNS, IDS, OPEN, ENDED)
  last = op.last
  redis.call('HSET', THREAD, 'seq', int(last), 'lim', int(op.lim), 'base', int(last), 'stored', int(last),
    'gen', op.generation, 'at', int(op.now))
  redis.call('ZADD', ACTIVE, int(op.now), op.tenant .. '/' .. op.thread)
  for _, turn in ipairs(op.open) do
    local id, status, first = turn[1], turn[2], turn[3]
    redis.call('HSET', TURNS, id, pack({ status = status, first = first, ended = 0, created = op.now }))
    redis.call('ZADD', OPEN, int(first), id)
  end
end
if op.floor > last then
  local text = string.gsub(ARGV[2], '"after_seq":0', '"after_seq":' .. int(last), 1)
  write({ { seq = op.floor + 1, id = op.gap, text = text } }, 'g')
end
return say({ is = 'done' })
