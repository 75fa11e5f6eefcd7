import type { CellId } from '#tokens/cell-id.ts';
import type { VerifiedToken } from '#tokens/verify.ts';
import { fieldIds } from '#wire/field-names.ts';
import type { RequestHead } from '#wire/message.ts';
import type { InboundPeer } from './inbound-peer.ts';
import { Refused } from './refusal.ts';

const tokenId = fieldIds['cellmesh-token'];

/**
 * The token that a peer presents, still unverified.
 * @throws Refused `field_malformed` when there are two: which of them was meant is not ours to guess
 */
export function tokenTextOf(request: RequestHead): string | undefined {
  const text = request.fieldById(tokenId);
  if (text !== undefined && request.countById(tokenId) > 1) {
    throw new Refused('field_malformed', 'token', 'one cellmesh-token', 'several');
  }
  return text;
}

/**
 * Whether a token that verifies may be here at all: a cell token of this cell, and on its way in from the router that minted it, so that
 * key, `client_id` and TLS peer agree (DESIGN.md 5). Inside the cell it is in the custody of sidecars, and the hop's word goes with it.
 * @throws Refused `token_type`, `token_cell`, `token_entry`
 */
export function checkTokenEntry(
  token: VerifiedToken,
  peer: Pick<InboundPeer, 'id'>,
  isRouter: boolean,
  cell: CellId,
): void {
  if (token.kind !== 'cell') throw new Refused('token_type', 'token', 'a cell token', `a token of kind ${token.kind}`);
  if (token.cellId !== cell) throw new Refused('token_cell', 'token', cell, token.cellId ?? 'no cell');
  if (!isRouter) return;
  if (token.keyOwner !== peer.id || token.clientId !== peer.id) {
    const actual = `key of ${token.keyOwner ?? 'nobody'}, client_id ${token.clientId}`;
    throw new Refused('token_entry', 'token', `key and client_id of ${peer.id}`, actual);
  }
}
