import JSON
import NetTypes

/// Why the value of a lease cannot be used.
public struct LeaseValueError: Error, Hashable, Sendable, CustomStringConvertible {
  /// What is wrong with it, as the end of a sentence: `it is empty`.
  public let reason: String
  /// The reason alone; the caller says which lease.
  public var description: String { reason }
}

extension LeaseAttributes {
  /// The value exactly as the Go daemon writes it to etcd (contract flanneld §7.1), without a final newline:
  /// `{"PublicIP":"192.168.0.2","PublicIPv6":null,"BackendType":"vxlan","BackendData":{…},"BackendV6Data":{…}}`.
  /// The last three are left out when empty. A node with IPv6 alone has `"PublicIP":null`, which the Go daemon does not
  /// know.
  public var json: [UInt8] {
    var text = "{\"PublicIP\":\(Self.quoted(publicIPs.ipv4)),\"PublicIPv6\":\(Self.quoted(publicIPs.ipv6))"
    if !backendType.isEmpty { text += ",\"BackendType\":\(JSONValue.string(backendType).text())" }
    if let data = backendData.ipv4 { text += ",\"BackendData\":\(data.text)" }
    if let data = backendData.ipv6 { text += ",\"BackendV6Data\":\(data.text)" }
    return Array((text + "}").utf8)
  }

  private static func quoted(_ ip: IPAddress?) -> String { ip.map { "\"\($0)\"" } ?? "null" }

  /// Parses a lease value. Names are matched without regard to case, unknown ones are ignored, the zero address counts
  /// as absent.
  public init(parsing bytes: [UInt8]) throws(LeaseValueError) { self = try Self.parse(bytes.span) }

  /// Parses a lease value that lies in a larger buffer.
  static func parse(_ bytes: Span<UInt8>) throws(LeaseValueError) -> LeaseAttributes {
    var plain = PlainText(bytes)
    if let fast = plain.leaseAttributes() { return fast }
    return try parseAny(bytes)
  }

  /// The general parser, for values in any layout; explains what is wrong.
  static func parseAny(_ bytes: Span<UInt8>) throws(LeaseValueError) -> LeaseAttributes {
    guard !bytes.isEmpty else { throw LeaseValueError(reason: "it is empty") }
    var copy: [UInt8] = []
    copy.reserveCapacity(bytes.count)
    for i in bytes.indices { copy.append(bytes[i]) }
    let root: JSONValue
    do { root = try JSONValue(parsing: copy) } catch { throw LeaseValueError(reason: error.description) }
    guard let object = root.objectValue else {
      throw LeaseValueError(reason: "expected a JSON object with \"PublicIP\", found \(root.kind)")
    }
    func value(_ name: String) -> JSONValue? { object.caseInsensitive(name).flatMap { $0.isNull ? nil : $0 } }
    func address(_ name: String, _ family: AddressFamily) throws(LeaseValueError) -> IPAddress? {
      guard let v = value(name) else { return nil }
      guard let a = v.stringValue.flatMap({ IPAddress($0) }), a.family == family else {
        throw LeaseValueError(
          reason: "\"\(name)\" is \(v.shortText), expected an \(family == .ipv4 ? "IPv4" : "IPv6") address")
      }
      return a.isUnspecified ? nil : a
    }
    var out = LeaseAttributes(
      publicIPs: PerFamily(ipv4: try address("PublicIP", .ipv4), ipv6: try address("PublicIPv6", .ipv6)))
    if let v = value("BackendType") {
      guard let type = v.stringValue else {
        throw LeaseValueError(reason: "\"BackendType\" is \(v.shortText), expected a string")
      }
      out.backendType = type
    }
    out.backendData = PerFamily(
      ipv4: value("BackendData").map(BackendData.init), ipv6: value("BackendV6Data").map(BackendData.init))
    guard !out.publicIPs.isEmpty else {
      throw LeaseValueError(reason: "neither \"PublicIP\" nor \"PublicIPv6\" holds an address")
    }
    return out
  }
}

extension JSONValue {
  /// The text when it is short, else the kind: for error messages.
  var shortText: String {
    let text = text()
    return text.utf8.count <= 80 ? text : "a long \(kind)"
  }
}

extension PlainText {
  /// Reads the one layout that agents write: of 5,000 lease files nearly all look like this. Gives up (nil) on anything
  /// else; never accepts what the general parser would refuse.
  @_lifetime(self: copy self)
  mutating func leaseAttributes() -> LeaseAttributes? {
    var out = LeaseAttributes(publicIPs: PerFamily())
    guard skip("{\"PublicIP\":"), address(.ipv4, &out.publicIPs.ipv4), skip(",\"PublicIPv6\":"),
      address(.ipv6, &out.publicIPs.ipv6), !out.publicIPs.isEmpty
    else { return nil }
    if skip(",\"BackendType\":") {
      guard let type = string() else { return nil }
      out.backendType = text(type)
    }
    if skip(",\"BackendData\":") {
      guard let data = flatObject() else { return nil }
      out.backendData.ipv4 = BackendData(scanned: text(data))
    }
    if skip(",\"BackendV6Data\":") {
      guard let data = flatObject() else { return nil }
      out.backendData.ipv6 = BackendData(scanned: text(data))
    }
    guard skip("}") else { return nil }
    while let c = next {
      guard c == 0x0a || c == 0x20 else { return nil }
      position += 1
    }
    return out
  }

  /// An address in quotes, or `null`.
  @_lifetime(self: copy self)
  private mutating func address(_ family: AddressFamily, _ out: inout IPAddress?) -> Bool {
    if skip("null") { return true }
    let start = position
    if family == .ipv4, skip("\""), let ip = ipv4(), skip("\"") {
      out = ip.isUnspecified ? nil : ip
      return true
    }
    position = start
    guard family == .ipv6, let range = string(), let ip = IPAddress(text(range)), ip.family == family else {
      return false
    }
    out = ip.isUnspecified ? nil : ip
    return true
  }
}
