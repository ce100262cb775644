/**
 * PostgreSQL's text has no NUL and no halves of surrogate pairs, which words can come to have (a helper that cuts an
 * emoji in two, a provider's answer): what is stored shows U+FFFD in their place.
 */
export function storableText(text: string): string {
  if (text.isWellFormed() && !text.includes('\0')) return text;
  return text.replaceAll('\0', '\ufffd').toWellFormed();
}

/** A value as JSON that jsonb takes. */
export function storableJson(value: unknown): string {
  const json = JSON.stringify(value);
  // JSON.stringify writes both as escapes, and an escaped backslash before `u0000` is a text about them.
  if (!/\\u(?:0000|d[89a-f])/i.test(json)) return json;
  return JSON.stringify(value, (_name, member) =>
    typeof member === 'string' ? storableText(member) : member,
  );
}
