/** Reason phrases (RFC 9110 15) of statuses that are written here; node:http would be loaded for them otherwise. */
const phrases: Readonly<Record<number, string>> = {
  100: 'Continue',
  102: 'Processing',
  103: 'Early Hints',
  200: 'OK',
  201: 'Created',
  202: 'Accepted',
  204: 'No Content',
  206: 'Partial Content',
  301: 'Moved Permanently',
  302: 'Found',
  303: 'See Other',
  304: 'Not Modified',
  307: 'Temporary Redirect',
  308: 'Permanent Redirect',
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  406: 'Not Acceptable',
  408: 'Request Timeout',
  409: 'Conflict',
  410: 'Gone',
  411: 'Length Required',
  412: 'Precondition Failed',
  413: 'Content Too Large',
  414: 'URI Too Long',
  415: 'Unsupported Media Type',
  417: 'Expectation Failed',
  421: 'Misdirected Request',
  422: 'Unprocessable Content',
  425: 'Too Early',
  426: 'Upgrade Required',
  428: 'Precondition Required',
  429: 'Too Many Requests',
  431: 'Request Header Fields Too Large',
  500: 'Internal Server Error',
  501: 'Not Implemented',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
  505: 'HTTP Version Not Supported',
};

/** By status, without gaps: an object with few large numbers for keys is a hash table. */
const byStatus: readonly string[] = Array.from({ length: 600 }, (_, status) => phrases[status] ?? '');

/** Empty for a status without a registered phrase: the phrase is optional, the space before it is not. */
export function statusText(status: number): string {
  return byStatus[status] ?? '';
}

/** By status, with its registered phrase: made when it is first written. */
const statusLines: string[] = [];

/** The first line of an HTTP/1.1 response. */
export function statusLine(status: number, reason: string = statusText(status)): string {
  if (reason !== statusText(status)) return `HTTP/1.1 ${status} ${reason}\r\n`;
  statusLines[status] ??= `HTTP/1.1 ${status} ${reason}\r\n`;
  return statusLines[status];
}
