/** A record of an import file: a row of CSV or a line of JSON. */
export interface FileRecord {
  /** 1 for the first of the file; the header of CSV is 0. */
  number: number;
  /** Line on which it begins, from 1. */
  line: number;
  /** As it is in the file, without its line break; cut off when it is too long. */
  text: string;
  /** Why it cannot be read. */
  error?: string;
}

/** Longer records are refused and skipped: no endpoint is that big (characters). */
const maxRecordLength = 1024 * 1024;
/** Quotes may hold line breaks, but an opening quote that nobody closes must not swallow the rest of the file. */
const maxQuotedLength = 64 * 1024;
const shownLength = 1000;

const notUtf8 = 'has bytes that are not UTF-8';

/**
 * Splits the content into records, a list for each block of content, so that a record costs no promise. A BOM at
 * the beginning, empty lines, and LF or CRLF make no difference.
 */
export async function* readRecords(
  content: AsyncIterable<Buffer>,
  format: 'CSV' | 'JSON',
): AsyncGenerator<FileRecord[]> {
  const decoder = new TextDecoder('utf-8');
  const splitter = new Splitter(format);
  for await (const block of content) {
    const records = splitter.push(decoder.decode(block, { stream: true }));
    if (records.length > 0) yield records;
  }
  const records = splitter.end(decoder.decode());
  if (records.length > 0) yield records;
}

export class Splitter {
  readonly #isCsv: boolean;
  #text = '';
  #line = 1;
  #number: number;
  /** The rest of a line that is too long is on its way. */
  #skipping = false;

  constructor(format: 'CSV' | 'JSON') {
    this.#isCsv = format === 'CSV';
    this.#number = this.#isCsv ? 0 : 1;
  }

  push(text: string): FileRecord[] {
    this.#text = this.#text === '' ? text : this.#text + text;
    return this.#split(false);
  }

  end(text: string): FileRecord[] {
    this.#text += text;
    const records = this.#split(true);
    this.#text = '';
    return records;
  }

  #split(isEnd: boolean): FileRecord[] {
    const records: FileRecord[] = [];
    const text = this.#text;
    let start = 0;
    while (start < text.length) {
      const newline = text.indexOf('\n', start);
      const end = newline === -1 ? text.length : newline;
      if (this.#skipping) {
        if (newline === -1) {
          start = text.length;
          break;
        }
        this.#skipping = false;
        this.#line += 1;
        start = end + 1;
        continue;
      }
      if (end - start > maxRecordLength) {
        this.#refuse(
          records,
          text.slice(start, start + shownLength),
          `is longer than ${maxRecordLength} characters`,
        );
        this.#skipping = newline === -1;
        if (newline !== -1) this.#line += 1;
        start = newline === -1 ? text.length : end + 1;
        continue;
      }
      if (newline === -1 && !isEnd) break;
      const line =
        text.charCodeAt(end - 1) === 13 && end > start ? text.slice(start, end - 1) : text.slice(start, end);
      if (this.#isCsv && line.includes('"')) {
        const row = readQuotedRow(text, start, isEnd);
        if (row === 'more') break;
        if (row !== 'unclosed') {
          this.#add(records, text.slice(start, row.end), row.error);
          this.#line += row.error === undefined ? row.lines : 1;
          start = row.error === undefined ? row.next : end + 1;
          continue;
        }
        this.#refuse(records, line, 'has a quote that is opened and never closed');
      } else if (line.trim() !== '') {
        this.#add(records, line, undefined);
      }
      this.#line += 1;
      start = end + 1;
    }
    this.#text = text.slice(start);
    return records;
  }

  #add(records: FileRecord[], text: string, error: string | undefined): void {
    if (error !== undefined) this.#refuse(records, text, error);
    else if (text.includes('\ufffd')) this.#refuse(records, text, notUtf8);
    else records.push({ number: this.#number++, line: this.#line, text });
  }

  #refuse(records: FileRecord[], text: string, error: string): void {
    records.push({ number: this.#number++, line: this.#line, text: text.slice(0, shownLength), error });
  }
}

/** The values of a row of CSV that `readRecords` gave out without an error. */
export function csvValues(row: string): string[] {
  if (!row.includes('"')) return row.split(',');
  const read = readQuotedRow(row, 0, true);
  if (typeof read === 'string') throw new Error('not a row that readRecords gave out');
  return read.fields;
}

interface QuotedRow {
  fields: string[];
  /** Where the row ends, without its line break, and where the next begins. */
  end: number;
  next: number;
  lines: number;
  error?: string;
}

/** A row in which quotes are (RFC 4180); a quote within an unquoted value is an ordinary character. */
function readQuotedRow(text: string, start: number, isEnd: boolean): QuotedRow | 'more' | 'unclosed' {
  const fields: string[] = [];
  let at = start;
  let lines = 1;
  for (;;) {
    let value: string;
    if (text[at] === '"') {
      const closing = closingQuote(text, at + 1);
      if (closing === -1 || closing - start > maxQuotedLength) {
        return isEnd || text.length - start > maxQuotedLength ? 'unclosed' : 'more';
      }
      const inner = text.slice(at + 1, closing);
      for (let found = inner.indexOf('\n'); found !== -1; found = inner.indexOf('\n', found + 1)) lines += 1;
      value = inner.includes('""') ? inner.replaceAll('""', '"') : inner;
      at = closing + 1;
    } else {
      const comma = text.indexOf(',', at);
      const newline = text.indexOf('\n', at);
      let end = newline === -1 ? text.length : newline;
      const isLast = comma === -1 || comma > end;
      if (isLast && newline === -1 && !isEnd) return 'more';
      if (!isLast) end = comma;
      else if (end > at && text[end - 1] === '\r') end -= 1;
      value = text.slice(at, end);
      at = end;
    }
    fields.push(value);
    if (text[at] === ',') {
      at += 1;
      continue;
    }
    if (at >= text.length) {
      // The second quote of a pair, or the line break, may be in the next block.
      return isEnd ? { fields, end: at, next: at, lines } : 'more';
    }
    if (text[at] === '\n') return { fields, end: at, next: at + 1, lines };
    if (text[at] === '\r' && at + 1 >= text.length && !isEnd) return 'more';
    if (text[at] === '\r' && (text[at + 1] === '\n' || at + 1 >= text.length)) {
      return { fields, end: at, next: Math.min(at + 2, text.length), lines };
    }
    return { fields, end: at, next: at, lines, error: 'has text after a closing quote' };
  }
}

/** The quote that is not one of a pair, or -1. At the end of the text it may still turn out to be one. */
function closingQuote(text: string, from: number): number {
  for (let at = text.indexOf('"', from); at !== -1; at = text.indexOf('"', at + 2)) {
    if (text[at + 1] !== '"') return at;
  }
  return -1;
}
