-- Forgets a thread that the store has whole and that has no open turn.
-- KEYS: what is known of this log, when threads were written, the thread. ARGV: the thread's name, the
-- moment since which it was not written.

local at = redis.call('ZSCORE', KEYS[2], ARGV[1])
if at and tonumber(at) > tonumber(ARGV[2]) then
  return 0
end
local head = redis.call('HMGET', KEYS[3], 'seq', 'stored')
if head[1] then
  if head[1] ~= head[2] or redis.call('ZCARD', KEYS[3] .. ':o') > 0 then
    return 0
  end
  redis.call('HINCRBY', KEYS[1], 'evicted', 1)
  for _, part in ipairs({ '', ':s', ':u', ':i', ':o', ':e' }) do
    redis.call('DEL', KEYS[3] .. part)
  end
end
redis.call('ZREM', KEYS[2], ARGV[1])
return 1
