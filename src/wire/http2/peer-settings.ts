import { frameSizeFault, protocolFault } from './header-assembly.ts';
import { ConnectionFault, errorCode, initialWindow, setting, windowMax } from './protocol.ts';

/** What the peer said of itself (RFC 9113 6.5.2). */
export class PeerSettings {
  /** Undefined until the peer says it. */
  headerTableBytes: number | undefined;
  streamsMax = Number.POSITIVE_INFINITY;
  streamWindow = initialWindow;
  /** It takes an extended CONNECT (RFC 8441). */
  takesProtocols = false;

  /** Reads a SETTINGS payload. @throws ConnectionFault */
  read(bytes: Buffer, start: number, end: number): void {
    if ((end - start) % 6 !== 0) throw frameSizeFault('SETTINGS do not come in sixes of bytes');
    for (let at = start; at < end; at += 6) this.#apply(bytes.readUInt16BE(at), bytes.readUInt32BE(at + 2));
  }

  #apply(id: number, value: number): void {
    switch (id) {
      case setting.headerTableSize:
        this.headerTableBytes = value;
        break;
      case setting.enablePush:
        if (value > 1) throw protocolFault('SETTINGS_ENABLE_PUSH is neither 0 nor 1');
        break;
      case setting.maxConcurrentStreams:
        this.streamsMax = value;
        break;
      case setting.initialWindowSize:
        if (value > windowMax) throw new ConnectionFault(errorCode.flowControlError, 'an initial window is too large');
        this.streamWindow = value;
        break;
      case setting.maxFrameSize:
        if (value < 16_384 || value > 16_777_215) throw protocolFault('SETTINGS_MAX_FRAME_SIZE is out of its range');
        break;
      case setting.enableConnectProtocol:
        if (value > 1) throw protocolFault('SETTINGS_ENABLE_CONNECT_PROTOCOL is neither 0 nor 1');
        this.takesProtocols = value === 1;
        break;
    }
  }
}
