import Glibc
import Syscalls

/// One call of gRPC over a socket file: a connection of HTTP/2 with a single stream (RFC 9113, RFC 7541). Header fields
/// are sent as plain literals and those of the answer are not read: a call that worked answers with a message, one that
/// failed has none.
struct UnaryCall {
  /// The socket file.
  let socket: String
  /// `/package.Service/Method`.
  let path: String

  /// A call without an answer.
  struct Failure: Error, CustomStringConvertible {
    let description: String
  }

  /// Sends a request and returns the message of the answer.
  func callAsFunction(_ request: [UInt8]) throws -> [UInt8] {
    let connection = try connect()
    try connection.write(opening(request), object: socket)
    var input = Input(connection: connection)
    var message: [UInt8] = []
    while let frame = try input.frame() {
      if frame.kind == .data { message += frame.payload }
      if frame.kind == .goAway || frame.kind == .reset { break }
      if frame.stream == 1, frame.flags & Frame.endOfStream != 0 { break }
    }
    guard message.count >= 5, message[0] == 0 else { throw Failure(description: "\(path) failed") }
    return Array(message.dropFirst(5))
  }

  /// The preface, our (empty) settings, and the request as stream 1.
  private func opening(_ request: [UInt8]) -> [UInt8] {
    let length = withUnsafeBytes(of: UInt32(request.count).bigEndian, Array.init)
    return Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + Frame(kind: .settings).encoded
      + Frame(kind: .headers, flags: Frame.endOfHeaders, stream: 1, payload: headers).encoded
      + Frame(kind: .data, flags: Frame.endOfStream, stream: 1, payload: [0] + length + request).encoded
  }

  private var headers: [UInt8] {
    let fields = [
      (":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "localhost"),
      ("content-type", "application/grpc"), ("te", "trailers"),
    ]
    var out: [UInt8] = []
    for (name, value) in fields {
      out.append(0)
      for text in [name, value] {
        out.append(UInt8(text.utf8.count))
        out += text.utf8
      }
    }
    return out
  }

  private func connect() throws -> FileDescriptor {
    let number = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard number >= 0 else { throw SystemError("open socket") }
    let connection = FileDescriptor(adopting: number)
    var limit = timeval(tv_sec: 60, tv_usec: 0)
    setsockopt(number, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let room = MemoryLayout.size(ofValue: address.sun_path)
    guard socket.utf8.count < room else { throw Failure(description: "\(socket): longer than \(room - 1) bytes") }
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: socket.utf8) }
    _ = try withUnsafePointer(to: &address) {
      try $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { name in
        try retrying("connect", socket) { Glibc.connect(number, name, socklen_t(MemoryLayout<sockaddr_un>.size)) }
      }
    }
    return connection
  }
}

/// A frame of HTTP/2.
private struct Frame {
  enum Kind: UInt8 {
    case data = 0
    case headers = 1
    case reset = 3
    case settings = 4
    case goAway = 7
    case other = 255
  }
  static let endOfStream: UInt8 = 1
  static let endOfHeaders: UInt8 = 4

  var kind: Kind
  var flags: UInt8 = 0
  var stream: UInt32 = 0
  var payload: [UInt8] = []

  var encoded: [UInt8] {
    let length = withUnsafeBytes(of: UInt32(payload.count).bigEndian, Array.init)
    return length.dropFirst() + [kind.rawValue, flags] + withUnsafeBytes(of: stream.bigEndian, Array.init) + payload
  }
}

/// The frames that come in.
private struct Input: ~Copyable {
  let connection: FileDescriptor
  var buffer: [UInt8] = []

  init(connection: consuming FileDescriptor) { self.connection = connection }

  /// The next frame; nil at the end of the connection.
  mutating func frame() throws -> Frame? {
    guard let head = try take(9) else { return nil }
    let length = head[..<3].reduce(0) { $0 << 8 | Int($1) }
    guard let payload = try take(length) else { return nil }
    return Frame(
      kind: Frame.Kind(rawValue: head[3]) ?? .other, flags: head[4],
      stream: head[5...].reduce(0) { $0 << 8 | UInt32($1) }, payload: payload)
  }

  private mutating func take(_ count: Int) throws -> [UInt8]? {
    while buffer.count < count {
      var part = [UInt8](repeating: 0, count: 65536)
      let n = try connection.read(into: &part, object: "containerd's answer")
      guard n > 0 else { return nil }
      buffer += part[..<n]
    }
    defer { buffer.removeFirst(count) }
    return Array(buffer[..<count])
  }
}
