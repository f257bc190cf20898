import NetTypes

/// ICMP echo packets of both families (RFC 792, RFC 4443), and the error packets that answer them.
public struct ICMPEcho: Hashable, Sendable {
  /// Tells one sender's packets from another's.
  public var identifier: UInt16
  /// Number of the packet.
  public var sequence: UInt16

  /// Both numbers as they go over the wire.
  public init(identifier: UInt16, sequence: UInt16) {
    self.identifier = identifier
    self.sequence = sequence
  }

  /// What came back.
  public enum Answer: Hashable, Sendable {
    /// The echo reply.
    case reply(ICMPEcho)
    /// An error about our request to `destination`, in words.
    case failure(ICMPEcho, destination: IPAddress, String)
  }

  /// Bytes of payload after the header.
  public static let payloadSize = 48

  /// The request. The kernel fills in the checksum of ICMPv6 packets sent by a raw socket; here it is zero then.
  public func request(_ family: AddressFamily) -> [UInt8] {
    var p: [UInt8] = [family == .ipv4 ? 8 : 128, 0, 0, 0]
    for v in [identifier, sequence] { p += [UInt8(v >> 8), UInt8(truncatingIfNeeded: v)] }
    p += (0..<Self.payloadSize).map { UInt8(truncatingIfNeeded: $0) }
    if family == .ipv4 {
      let sum = Self.checksum(p[...])
      p[2] = UInt8(sum >> 8)
      p[3] = UInt8(truncatingIfNeeded: sum)
    }
    return p
  }

  /// Reads what a raw socket received: IPv4 packets come with their IP header, IPv6 ones without. nil for everything
  /// that is neither an echo reply nor an error about an echo request.
  public static func parse(_ packet: ArraySlice<UInt8>, _ family: AddressFamily) -> Answer? {
    guard let icmp = family == .ipv4 ? payload(ipv4: packet) : packet, let type = byte(icmp, 0),
      let code = byte(icmp, 1)
    else { return nil }
    if family == .ipv4, checksum(icmp) != 0 { return nil }
    switch (family, type) {
    case (.ipv4, 0), (.ipv6, 129):
      return echo(icmp).map(Answer.reply)
    case (.ipv4, 3), (.ipv4, 11), (.ipv6, 1), (.ipv6, 2), (.ipv6, 3):
      // The packet that caused the error follows eight bytes later, with its IP header.
      let inner = icmp.dropFirst(8)
      guard let cause = family == .ipv4 ? payload(ipv4: inner) : inner.dropFirst(40),
        byte(cause, 0) == (family == .ipv4 ? 8 : 128), let echo = echo(cause),
        let destination = IPAddress(bytes: inner.dropFirst(family == .ipv4 ? 16 : 24).prefix(family.byteCount))
      else { return nil }
      return .failure(echo, destination: destination, meaning(family, type, code))
    default:
      return nil
    }
  }

  /// The Internet checksum (RFC 1071); 0 over a packet that carries a right one.
  public static func checksum(_ bytes: ArraySlice<UInt8>) -> UInt16 {
    var sum: UInt64 = 0
    var high = true
    for b in bytes {
      sum += high ? UInt64(b) << 8 : UInt64(b)
      high.toggle()
    }
    while sum > 0xffff { sum = sum >> 16 + sum & 0xffff }
    return ~UInt16(truncatingIfNeeded: sum)
  }

  private static func echo(_ icmp: ArraySlice<UInt8>) -> ICMPEcho? {
    guard let a = byte(icmp, 4), let b = byte(icmp, 5), let c = byte(icmp, 6), let d = byte(icmp, 7) else { return nil }
    return ICMPEcho(identifier: UInt16(a) << 8 | UInt16(b), sequence: UInt16(c) << 8 | UInt16(d))
  }

  private static func payload(ipv4 packet: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
    guard let first = byte(packet, 0), first >> 4 == 4 else { return nil }
    let length = Int(first & 15) * 4
    guard length >= 20, packet.count >= length + 8 else { return nil }
    return packet.dropFirst(length)
  }

  private static func byte(_ s: ArraySlice<UInt8>, _ offset: Int) -> UInt8? {
    offset < s.count ? s[s.startIndex + offset] : nil
  }

  private static func meaning(_ family: AddressFamily, _ type: UInt8, _ code: UInt8) -> String {
    switch (family, type, code) {
    case (.ipv4, 3, 0), (.ipv6, 1, 0): "no route to the destination"
    case (.ipv4, 3, 1), (.ipv6, 1, 3): "destination host unreachable"
    case (.ipv4, 3, 4), (.ipv6, 2, _): "packet too big"
    case (.ipv4, 3, 9), (.ipv4, 3, 10), (.ipv4, 3, 13), (.ipv6, 1, 1): "administratively prohibited"
    case (.ipv4, 11, _), (.ipv6, 3, _): "hop limit exceeded"
    case (.ipv4, 3, _), (.ipv6, 1, _): "destination unreachable (code \(code))"
    default: "ICMP type \(type) code \(code)"
    }
  }
}
