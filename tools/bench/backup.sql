-- A database to back up: prose, JSON, numbers, times and random bytes, no two rows alike. Words in @…@ are put in.
DROP DATABASE IF EXISTS @schema@;
CREATE DATABASE @schema@ CHARACTER SET utf8mb4;
USE @schema@;
SET SESSION cte_max_recursion_depth = 1000000, sql_log_bin = 0;
CREATE TABLE message (
  id BIGINT PRIMARY KEY AUTO_INCREMENT, conversationId INT NOT NULL, role VARCHAR(12) NOT NULL, content TEXT NOT NULL,
  metadata JSON, embedding VARBINARY(255), tokens INT, cost DECIMAL(10, 6), createdAt DATETIME(3) NOT NULL,
  KEY conversation (conversationId)
);
CREATE TABLE event (
  id BIGINT PRIMARY KEY AUTO_INCREMENT, kind VARCHAR(20) NOT NULL, subject INT, value DOUBLE, note VARCHAR(80),
  createdAt TIMESTAMP NOT NULL, KEY kind (kind, createdAt)
);
INSERT INTO message (conversationId, role, content, metadata, embedding, tokens, cost, createdAt)
WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < @rows@)
SELECT i DIV 10, ELT(1 + i % 3, 'user', 'assistant', 'system'), @text@,
  JSON_OBJECT('model', @word@, 'latency_ms', ROUND(RAND() * 4000, 2), 'tags', JSON_ARRAY(@word@, @word@),
    'request', UUID()),
  RANDOM_BYTES(96), FLOOR(RAND() * 4000), RAND(), '2026-01-01' + INTERVAL i SECOND
FROM n;
INSERT INTO event (kind, subject, value, note, createdAt)
WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 2 * @rows@)
SELECT ELT(1 + FLOOR(RAND() * 4), 'login', 'prompt', 'answer', 'error'), FLOOR(RAND() * 1e6), RAND() * 1e3,
  IF(RAND() < 0.3, NULL, CONCAT_WS(' ', @word@, @noise@, @word@)), '2026-01-01' + INTERVAL i SECOND
FROM n;
GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON @schema@.* TO orquestrador_ops@localhost;
-- each time twice as much
INSERT INTO message (conversationId, role, content, metadata, embedding, tokens, cost, createdAt)
SELECT conversationId + @rows@, role,
  CONCAT(SUBSTRING(content, 1 + FLOOR(RAND() * 60)), ' ', @noise@, ' ', @word@, ' ', @noise@),
  JSON_SET(metadata, '$.request', UUID()), RANDOM_BYTES(96), FLOOR(RAND() * 4000), RAND(), createdAt + INTERVAL 1 DAY
FROM message;
INSERT INTO event (kind, subject, value, note, createdAt)
SELECT kind, FLOOR(RAND() * 1e6), RAND() * 1e3, note, createdAt + INTERVAL 1 DAY FROM event;
