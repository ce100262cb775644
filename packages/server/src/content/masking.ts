/** Stands for what was masked. */
const mask = '****';

// Words beside which a number is a code, in the languages of SendOTPMessage and a few more.
const codeWords = [
  'code',
  'codes',
  'pin',
  'otp',
  'passcode',
  'password',
  'passwort',
  'kennwort',
  'token',
  'tan',
  'verification',
  'verify',
  'one-time',
  'código',
  'codigo',
  'clave',
  'contraseña',
  'senha',
  'codice',
  'mot de passe',
  'kode',
  'kod',
  'koodi',
  'kód',
  'wachtwoord',
  'код',
  'пароль',
  'رمز',
  'קוד',
];
/** Written without spaces around them. */
const unspacedCodeWords = ['コード', '認証', '验证码', '驗證碼', '인증', 'รหัส'];
// At the beginning of a word (`codes`) or at its end (`Bestätigungscode`), not within (`decoded`).
const anyCodeWord = codeWords.join('|');
const codeWord = new RegExp(
  `(?<!\\p{L})(?:${anyCodeWord})|(?:${anyCodeWord})(?!\\p{L})|${unspacedCodeWords.join('|')}`,
  'iu',
);

/** 4 to 8 digits, also in groups (`123-456`, `123 456`), also with the letter of `G-123456`. */
const code = /(?<![A-Za-z\p{N}])(?:[A-Z]-)?(?:\d{3,4}[ -]\d{3,4}|\d{4,8})(?![\p{N}]|[.,:]\d)/gu;
/** How far a code may be from its word, in characters. */
const reach = 60;

const link = /\b[a-z][a-z0-9+.-]{1,20}:\/\/[^\s<>"']+/gi;
const secretName =
  /^(?:.*[-_.])?(?:token|code|key|sig|signature|secret|otp|pin|pass|password|auth|hash|jwt|session|sid|ticket|nonce|invite|magic|state|access_token|id_token|oobcode|apikey|t|k)$/i;
/** A path segment that nobody would choose as a name: long, with digits and letters, or very long. */
const randomSegment = /^(?=.*\d)(?=.*[A-Za-z])[\w.~=-]{16,}$|^[\w.~=-]{32,}$/;
/** Words with separators, such as the title of an article. */
const readable = /^[a-z]{1,20}(?:[-_](?:[a-z]{1,20}|\d{1,4}))*(?:\.[a-z]{2,5})?$/;

/**
 * Masks what lets somebody in: one-time codes (4 to 8 digits near a word such as *code* or *PIN*, or all alone) and
 * the secrets of links (values of parameters such as `token`, `code`, `sig`, and long random path segments). For logs
 * and views; never for what is sent.
 */
export function maskSecrets(text: string): string {
  const links: string[] = [];
  // Links first: their digits are not codes, and what is masked in them must not be looked at again.
  const withoutLinks = text.replace(link, (found) => {
    links.push(maskLink(found));
    return `\uF8FE${links.length - 1}\uF8FF`;
  });
  return maskCodes(withoutLinks).replace(
    /\uF8FE(\d+)\uF8FF/g,
    (whole, index) => links[Number(index)] ?? whole,
  );
}

function maskCodes(text: string): string {
  const alone = /^\s*(?:[A-Z]-)?(?:\d{3,4}[ -]\d{3,4}|\d{4,8})\s*[.!]?\s*$/;
  if (alone.test(text)) return text.replace(/\d[\d -]*\d/, mask);
  return text.replace(code, (found, offset: number) => {
    const around = text.slice(Math.max(0, offset - reach), offset + found.length + reach);
    return codeWord.test(around) ? mask : found;
  });
}

function maskLink(url: string): string {
  const [, head = '', path = '', rest = ''] = /^([^/]*\/\/[^/?#]*)([^?#]*)(.*)$/s.exec(url) ?? [];
  const cleanPath = path
    .split('/')
    .map((segment) => (randomSegment.test(segment) && !readable.test(segment) ? mask : segment))
    .join('/');
  const cleanRest = rest.replace(/([?&#;])([^=&#;]{0,100})=([^&#;]*)/g, (whole, before, name, value) => {
    const secret = secretName.test(name) || (randomSegment.test(value) && !readable.test(value));
    return secret && value !== '' ? `${before}${name}=${mask}` : whole;
  });
  // user:password@host
  return head.replace(/\/\/[^@/]*@/, `//${mask}@`) + cleanPath + cleanRest;
}

const summaryLength = 120;

/** The beginning of a subject or text for lists: on one line, at most 120 characters, with secrets masked. */
export function summary(text: string): string {
  // Masked before it is cut, so that a cut cannot part a code from its word.
  const start = maskSecrets(text.slice(0, 8 * summaryLength))
    .replace(/\s+/g, ' ')
    .trim();
  const characters = [...start];
  if (characters.length <= summaryLength) return start.toWellFormed();
  return `${characters.slice(0, summaryLength - 1).join('')}…`.toWellFormed();
}
