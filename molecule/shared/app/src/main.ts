interface Conversation {
  id: number;
  title: string;
  messageCount: number;
}

async function show(): Promise<void> {
  const health = await (await fetch('/api/health')).json();
  document.querySelector('#health')!.textContent = `status: ${health.status}, database: ${health.database}`;
  const answer = await (await fetch('/api/trpc/conversation.list?input={"limit":10}')).json();
  const items = ((answer.result?.data ?? []) as Conversation[]).map((conversation) => {
    const item = document.createElement('li');
    item.textContent = `${conversation.title} (${conversation.messageCount})`;
    return item;
  });
  document.querySelector('#conversations')!.replaceChildren(...items);
}

show().catch((error) => {
  document.querySelector('#health')!.textContent = String(error);
});
