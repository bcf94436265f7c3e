-- A few thousand rows, the same ones every time: every value is computed from the row's number.
-- One transaction, whose last row says that it is done: an interrupted seed leaves nothing behind.
SET NAMES utf8mb4;
SET time_zone = '+00:00';

CREATE TEMPORARY TABLE number (n INT UNSIGNED NOT NULL PRIMARY KEY);
INSERT INTO number
WITH digit AS (SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL
               SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9)
SELECT 1 + a.d + 10 * b.d + 100 * c.d + 1000 * e.d FROM digit a, digit b, digit c, digit e WHERE e.d < 4;

START TRANSACTION;

INSERT INTO `user` (id, name, email, passwordHash, locale, active, createdAt)
  SELECT n, CONCAT('Usuária ', n), CONCAT('user', n, '@example.invalid'), SHA2(CONCAT('no password ', n), 256),
         IF(n % 4 = 0, 'en', 'pt-BR'), n % 10 <> 0, '2025-01-01' + INTERVAL n DAY FROM number WHERE n <= 50 ORDER BY n;
INSERT INTO session (userId, tokenHash, expiresAt)
  SELECT n, UNHEX(SHA2(CONCAT('session ', n), 256)), '2099-12-31 23:59:59' FROM number WHERE n <= 20 ORDER BY n;
INSERT INTO apiKey (userId, keyHash, label)
  SELECT n, UNHEX(SHA2(CONCAT('key ', n), 256)), CONCAT('integração ', n) FROM number WHERE n <= 10 ORDER BY n;
INSERT INTO `role` (id, name) VALUES (1, 'admin'), (2, 'operator'), (3, 'member');
INSERT INTO userRole (userId, roleId) SELECT n, 1 + n % 3 FROM number WHERE n <= 50 ORDER BY n;
INSERT INTO team (id, name, createdAt) SELECT n, CONCAT('Equipe ', n), '2025-01-01' FROM number WHERE n <= 8 ORDER BY n;
INSERT INTO teamMember (teamId, userId) SELECT 1 + n % 8, n FROM number WHERE n <= 50 ORDER BY n;

INSERT INTO project (id, userId, teamId, name, description, status, createdAt)
  SELECT n, 1 + n % 50, 1 + n % 8, CONCAT('Projeto ', n), REPEAT(CONCAT('Descrição do projeto ', n, '. '), 5),
         ELT(1 + n % 3, 'active', 'paused', 'archived'), '2025-02-01' + INTERVAL n HOUR FROM number WHERE n <= 40 ORDER BY n;
INSERT INTO projectMember (projectId, userId) SELECT 1 + n % 40, 1 + n % 50 FROM number WHERE n <= 120 ORDER BY n;

INSERT INTO aiProvider (id, name, baseUrl)
  SELECT n, CONCAT('provider-', n), CONCAT('http://provider-', n, '.invalid/v1') FROM number WHERE n <= 6 ORDER BY n;
INSERT INTO aiModel (id, providerId, name, contextWindow, settings, createdAt)
  SELECT n, 1 + n % 6, CONCAT('model-', n), 4096 * (1 + n % 8), JSON_OBJECT('temperature', n % 10, 'stop', JSON_ARRAY('###', '🛑')),
         '2025-01-15' FROM number WHERE n <= 24 ORDER BY n;
INSERT INTO modelPricing (modelId, inputPrice, outputPrice, validFrom)
  SELECT n, n * 0.00000125, n * 0.00000375, '2025-01-01' FROM number WHERE n <= 24 ORDER BY n;
INSERT INTO specializedAi (modelId, name, systemPrompt)
  SELECT n, CONCAT('Especialista ', n), 'Responda em português, com fontes.' FROM number WHERE n <= 12 ORDER BY n;

INSERT INTO prompt (id, userId, title, content, useCount, createdAt)
  SELECT n, 1 + n % 50, CONCAT('Prompt ', n), REPEAT(CONCAT('Instrução ', n, ' — ✍️ '), 20), n * 7 % 100,
         '2025-03-01' + INTERVAL n HOUR FROM number WHERE n <= 300 ORDER BY n;
INSERT INTO promptVersion (promptId, version, content)
  SELECT 1 + n % 300, 1 + n DIV 300, CONCAT('Versão ', n) FROM number WHERE n <= 600 ORDER BY n;
INSERT INTO tag (id, name, color) SELECT n, CONCAT('tag-', n), CONCAT('#', LEFT(SHA2(n, 256), 6)) FROM number WHERE n <= 20 ORDER BY n;
INSERT INTO promptTag (promptId, tagId) SELECT n, 1 + n % 20 FROM number WHERE n <= 300 ORDER BY n;

INSERT INTO conversation (id, userId, projectId, modelId, title, createdAt)
  SELECT n, 1 + n % 50, 1 + n % 40, 1 + n % 24, CONCAT('Conversa ', n, ' 💬'), '2025-04-01' + INTERVAL n HOUR
    FROM number WHERE n <= 400 ORDER BY n;
INSERT INTO conversationTag (conversationId, tagId) SELECT n, 1 + n % 20 FROM number WHERE n <= 400 ORDER BY n;
INSERT INTO message (id, conversationId, `role`, content, tokens, createdAt)
  SELECT n, 1 + n % 400, ELT(1 + n % 3, 'user', 'assistant', 'system'), REPEAT(CONCAT('Mensagem ', n, ' 🚀 ', LEFT(SHA2(n, 256), 32), '\n'), 1 + n % 6),
         n * 31 % 900, '2025-04-10' + INTERVAL n * 97 SECOND FROM number WHERE n <= 4000 ORDER BY n;
INSERT INTO messageAttachment (messageId, fileName, content)
  SELECT n * 10, CONCAT('anexo-', n, '.bin'), REPEAT(UNHEX(SHA2(n, 512)), 16) FROM number WHERE n <= 60 ORDER BY n;
INSERT INTO messageReaction (messageId, userId, emoji)
  SELECT n, 1 + n % 50, ELT(1 + n % 4, '👍', '❤️', '🎉', '👩‍💻') FROM number WHERE n <= 400 ORDER BY n;

INSERT INTO task (id, projectId, userId, title, status, priority, createdAt)
  SELECT n, 1 + n % 40, 1 + n % 50, CONCAT('Tarefa ', n), ELT(1 + n % 4, 'todo', 'doing', 'done', 'failed'), 1 + n % 5,
         '2025-05-01' + INTERVAL n MINUTE FROM number WHERE n <= 200 ORDER BY n;
INSERT INTO subtask (taskId, title, done) SELECT 1 + n % 200, CONCAT('Passo ', n), n % 2 FROM number WHERE n <= 400 ORDER BY n;
INSERT INTO taskDependency (taskId, dependsOnId) SELECT n + 1, n FROM number WHERE n <= 100 ORDER BY n;
INSERT INTO taskComment (taskId, userId, content)
  SELECT 1 + n % 200, 1 + n % 50, CONCAT('Comentário ', n) FROM number WHERE n <= 150 ORDER BY n;
INSERT INTO workflow (id, projectId, name, definition)
  SELECT n, n, CONCAT('Fluxo ', n), JSON_OBJECT('trigger', 'task', 'retries', n % 4) FROM number WHERE n <= 20 ORDER BY n;
INSERT INTO workflowStep (id, workflowId, position, name)
  SELECT n, 1 + (n - 1) DIV 4, 1 + (n - 1) % 4, CONCAT('Etapa ', n) FROM number WHERE n <= 80 ORDER BY n;
INSERT INTO workflowRun (id, workflowId, status, startedAt, endedAt)
  SELECT n, 1 + n % 20, ELT(1 + n % 2, 'succeeded', 'failed'), '2025-06-01 08:00:00.125' + INTERVAL n HOUR,
         '2025-06-01 08:00:07.875' + INTERVAL n HOUR FROM number WHERE n <= 60 ORDER BY n;
INSERT INTO workflowRunStep (runId, stepId, output)
  SELECT 1 + n % 60, 1 + n % 80, JSON_OBJECT('ok', n % 2 = 0, 'n', n) FROM number WHERE n <= 120 ORDER BY n;
INSERT INTO executionLog (taskId, level, content, loggedAt)
  SELECT 1 + n % 200, ELT(1 + n % 3, 'info', 'warning', 'error'), CONCAT('Execução ', n), '2025-06-01' + INTERVAL n SECOND
    FROM number WHERE n <= 500 ORDER BY n;
INSERT INTO instruction (projectId, content, priority) SELECT n, CONCAT('Diretriz ', n), n % 5 FROM number WHERE n <= 40 ORDER BY n;

INSERT INTO knowledgeBase (id, projectId, name, createdAt)
  SELECT n, n, CONCAT('Base ', n), '2025-03-01' FROM number WHERE n <= 10 ORDER BY n;
INSERT INTO knowledgeDocument (id, baseId, title, sha256)
  SELECT n, 1 + n % 10, CONCAT('Documento ', n), UNHEX(SHA2(n, 256)) FROM number WHERE n <= 50 ORDER BY n;
INSERT INTO knowledgeChunk (id, documentId, position, content)
  SELECT n, 1 + n % 50, n DIV 50, REPEAT(CONCAT('Trecho ', n, ' '), 30) FROM number WHERE n <= 250 ORDER BY n;
INSERT INTO embedding (chunkId, dimensions, `vector`)
  SELECT n, 64, REPEAT(UNHEX(SHA2(CONCAT('v', n), 256)), 8) FROM number WHERE n <= 250 ORDER BY n;
INSERT INTO trainingDataset (id, name, samples) SELECT n, CONCAT('Dados ', n), n * 1000 FROM number WHERE n <= 5 ORDER BY n;
INSERT INTO trainingJob (id, datasetId, modelId, loss, startedAt)
  SELECT n, 1 + n % 5, 1 + n % 24, 1 / n, '2025-06-15 12:00:00' + INTERVAL n HOUR FROM number WHERE n <= 15 ORDER BY n;
INSERT INTO evaluation (jobId, modelId, score) SELECT n, 1 + n % 24, n / 16 FROM number WHERE n <= 15 ORDER BY n;

INSERT INTO credential (id, userId, service, ciphertext)
  SELECT n, n, CONCAT('service-', n), UNHEX(SHA2(CONCAT('not a secret ', n), 512)) FROM number WHERE n <= 10 ORDER BY n;
INSERT INTO externalAccount (userId, provider, credentialId) SELECT n, 'github', n FROM number WHERE n <= 10 ORDER BY n;
INSERT INTO webhook (id, projectId, url, events)
  SELECT n, n, CONCAT('http://hook-', n, '.invalid/'), 'message,task' FROM number WHERE n <= 10 ORDER BY n;
INSERT INTO webhookDelivery (webhookId, status, deliveredAt)
  SELECT 1 + n % 10, IF(n % 9 = 0, 500, 200), '2025-07-01' + INTERVAL n MINUTE FROM number WHERE n <= 200 ORDER BY n;
INSERT INTO notification (userId, title, body, createdAt)
  SELECT 1 + n % 50, CONCAT('Aviso ', n, ' 🔔'), 'Sua tarefa terminou.', '2025-07-01' + INTERVAL n HOUR FROM number WHERE n <= 200 ORDER BY n;
INSERT INTO auditLog (userId, action, detail, loggedAt)
  SELECT 1 + n % 50, ELT(1 + n % 3, 'login', 'create', 'delete'), JSON_OBJECT('n', n, 'ação', 'ç'),
         '2025-07-01 00:00:00.000001' + INTERVAL n MINUTE FROM number WHERE n <= 500 ORDER BY n;
INSERT INTO setting (name, content) VALUES ('theme', '"dark"'), ('limits', '{"messagesPerDay": 1000}'), ('flags', '["beta"]');
INSERT INTO usageRecord (id, userId, modelId, tokensIn, tokensOut, cost, detail, payload, note, recordedAt)
  SELECT n, 1 + n % 50, 1 + n % 24, n * 13 % 5000, n * 29 % 3000, n * 0.000125, JSON_OBJECT('cached', n % 2 = 0, 'emoji', '🤖', 'n', n),
         UNHEX(SHA2(CONCAT('payload ', n), 512)), ELT(1 + n % 4, 'aspas \' e "', 'linha\nnova', 'barra \\ invertida', '👩‍👩‍👧‍👦 família'),
         '2025-07-01 00:00:00.123456' + INTERVAL n MINUTE FROM number WHERE n <= 1000 ORDER BY n;

INSERT INTO schemaMigration (name, appliedAt) VALUES ('0001-schema', '2025-11-01'), ('0002-seed', '2025-11-01');
COMMIT;
