-- Accepts a turn, appends events or cancels a turn: all of it or none, under the rules.
-- KEYS[10], if it is there: what was answered to the request's key. ARGV[2] and on: the events' texts.

local ONCE = KEYS[10]
if ONCE then
  local told = redis.call('HMGET', ONCE, 'body', 'seq')
  if told[1] then
    if told[1] ~= op.body then
      return say({ is = 'reused' })
    end
    return say({ is = 'done', seq = tonumber(told[2]), created = false })
  end
end

local head = redis.call('HMGET', THREAD, 'seq', 'lim', 'base', 'gen')
if not head[1] or head[4] ~= op.generation then
  return say({ is = 'cold', evicted = evicted })
end
local last, lim, base = tonumber(head[1]), tonumber(head[2]), tonumber(head[3])

-- What stands at or before `base` is known to the store alone.
local function is_unsure(event)
  if event.turn and redis.call('HEXISTS', TURNS, event.turn) == 0 then
    return true
  end
  return not event.fresh and redis.call('HEXISTS', IDS, event.id) == 0
end
if base > op.checked then
  for _, event in ipairs(op.events) do
    if is_unsure(event) then
      return say({ is = 'check', base = base })
    end
  end
end

local turns = {}
local function turn_of(id)
  if turns[id] then
    return turns[id]
  end
  local packed = redis.call('HGET', TURNS, id)
  local turn
  if packed then
    local status, first, ended, created = string.match(packed, '^(%a+) (%d+) (%d+) (%d+)$')
    turn = { status = status, first = tonumber(first), ended = tonumber(ended), created = tonumber(created) }
  elseif op.turns[id] then
    local known = op.turns[id]
    turn = { status = known[1], first = known[2], ended = known[3], created = op.now }
  end
  turns[id] = turn
  return turn
end

local news, placed = {}, {}
local function add(id, text)
  last = last + 1
  news[#news + 1] = { seq = last, id = id, text = text }
  placed[id] = last
  return last
end

local function become(turn, status)
  turn.is_new = true
  turn.status = status
  if is_over(status) then
    turn.ended = last
  end
end

local function cancel(id, n)
  add(op.cancels.id .. n, op.cancels.head .. n .. op.cancels.mid .. id .. op.cancels.tail)
  become(turns[id], after(turns[id].status, 'cancelled'))
end

local answers = {}
local answer = { is = 'done' }
local flags = ''

if op.kind == 'accept' then
  local event = op.events[1]
  local turn = turn_of(event.turn)
  if turn then
    return say({ is = 'done', seq = turn.first, created = false })
  end
  local open = redis.call('ZRANGE', OPEN, 0, -1)
  if #open > 0 and op.on_busy == 'reject' then
    return say({ is = 'busy', turn = open[1] })
  end
  if op.on_busy == 'interrupt' then
    for n, id in ipairs(open) do
      turn_of(id)
      cancel(id, n)
    end
  end
  local seq = add(event.id, ARGV[2])
  turns[event.turn] = { status = 'accepted', first = seq, ended = 0, created = op.now, is_new = true }
  answer.seq, answer.created = seq, true
  flags = 'a'
elseif op.kind == 'cancel' then
  local id = op.events[1].turn
  local turn = turn_of(id)
  if not turn then
    return say({ is = 'unknown', turn = id })
  end
  if is_over(turn.status) then
    if turn.status == 'cancelled' then
      return say(answer)
    end
    return say({ is = 'over', turn = id, status = turn.status })
  end
  cancel(id, 1)
else
  for i, event in ipairs(op.events) do
    local known = placed[event.id] or tonumber(redis.call('HGET', IDS, event.id) or op.known[i])
    if known then
      answers[i] = { seq = known, duplicated = true }
      if event.turn then
        turn_of(event.turn)
      end
    else
      local turn = event.turn and turn_of(event.turn)
      -- The server's own word of a turn that has ended, or never was, is not needed any more.
      if op.kind == 'say' and (not turn or is_over(turn.status)) then
        return say(answer)
      end
      local status
      if event.turn then
        status = after(turn and turn.status or 'accepted', event.ends)
        if not status then
          return say({ is = 'over', turn = event.turn, status = turn.status })
        end
      end
      local seq = add(event.id, ARGV[1 + i])
      answers[i] = { seq = seq, duplicated = false }
      if event.turn then
        if not turn then
          turn = { status = 'accepted', first = seq, ended = 0, created = op.now }
          turns[event.turn] = turn
        end
        if turn.status ~= status or turn.first == seq then
          become(turn, status)
        end
      end
    end
  end
  for i, event in ipairs(op.events) do
    local turn = event.turn and turns[event.turn]
    if turn and answers[i] then
      answers[i].status = turn.status
    end
  end
  answer.events = answers
end

if last > lim then
  return say({ is = 'reserve', upto = last })
end
if #news == 0 then
  return say(answer)
end

write(news, flags)
for id, turn in pairs(turns) do
  if turn.is_new then
    redis.call('HSET', TURNS, id, pack(turn))
    if is_over(turn.status) then
      redis.call('ZREM', OPEN, id)
      redis.call('ZADD', ENDED, int(turn.ended), id)
    else
      redis.call('ZADD', OPEN, int(turn.first), id)
    end
  end
end
if ONCE and answer.created then
  redis.call('HSET', ONCE, 'body', op.body, 'seq', int(answer.seq))
  redis.call('EXPIRE', ONCE, int(op.kept))
end
return say(answer)
