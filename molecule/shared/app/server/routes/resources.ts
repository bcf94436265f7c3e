/** What the API shows of a table: the columns it returns, those a caller may set, those a list may be filtered by. */
export interface Resource {
  columns: string[];
  writable: string[];
  filters: string[];
}

const resource = (columns: string, writable: string, filters = ''): Resource => ({
  columns: ['id', ...columns.split(' ')],
  writable: writable.split(' '),
  filters: filters.split(' ').filter(Boolean),
});

/** Router name = table name. `user` leaves its password hash out, `apiKey` and `credential` are not shown at all. */
export const RESOURCES: Record<string, Resource> = {
  user: resource('name email locale active createdAt', 'name email locale passwordHash', 'active'),
  team: resource('name createdAt', 'name'),
  project: resource(
    'userId teamId name description status createdAt',
    'userId teamId name description',
    'userId status',
  ),
  aiProvider: resource('name baseUrl active', 'name baseUrl active', 'active'),
  aiModel: resource(
    'providerId name contextWindow active createdAt',
    'providerId name contextWindow',
    'providerId active',
  ),
  specializedAi: resource('modelId name systemPrompt', 'modelId name systemPrompt', 'modelId'),
  prompt: resource('userId title content useCount createdAt', 'userId title content', 'userId'),
  tag: resource('name color', 'name color'),
  conversation: resource(
    'userId projectId modelId title messageCount status lastMessageAt createdAt',
    'userId projectId modelId title',
    'userId projectId status',
  ),
  message: resource(
    'conversationId role content tokens createdAt',
    'conversationId role content tokens',
    'conversationId role',
  ),
  task: resource(
    'projectId userId title status priority createdAt',
    'projectId userId title priority',
    'projectId userId status',
  ),
  workflow: resource('projectId name definition active', 'projectId name definition', 'projectId'),
  knowledgeBase: resource('projectId name createdAt', 'projectId name', 'projectId'),
  notification: resource('userId title body readAt createdAt', 'userId title body', 'userId'),
  usageRecord: resource(
    'userId modelId tokensIn tokensOut tokensTotal cost recordedAt',
    'userId modelId tokensIn tokensOut cost',
    'userId modelId',
  ),
};
