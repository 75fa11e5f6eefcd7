type Protocol = 'http' | 'grpc' | 'tcp';

export interface ServicePort {
  readonly port: number;
  readonly protocol: Protocol;
}

export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}
