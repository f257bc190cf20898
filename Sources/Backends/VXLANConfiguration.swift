public import JSON
public import NetTypes

/// A back-end option that cannot be used.
public struct BackendError: Error, Hashable, Sendable, CustomStringConvertible {
  /// What is wrong and what to do.
  public var description: String
  /// - Parameter description: what is wrong and what to do.
  public init(_ description: String) { self.description = description }
}

/// When overlay routes use next-hop objects instead of classic gateways. The kernel hashes classic next hops by device
/// only, so that n routes with n gateways on one device cost O(n²); next-hop objects cost O(n) and show as `nhid N via …`.
public enum NexthopObjects: String, CaseIterable, Sendable {
  /// From `VXLANConfiguration.manyPeers` peers on.
  case auto
  case always
  case never
}

/// Options of the vxlan back end (contract flanneld §2.3). Keys are matched without regard to case; the Windows-only
/// `MacPrefix` and `Name` are accepted and ignored.
public struct VXLANConfiguration: Hashable, Sendable {
  /// `auto` switches to next-hop objects at this number of peers …
  public static let manyPeers = 1000
  /// … and back below this one, so that a cluster at the threshold does not rewrite its routes back and forth.
  public static let fewPeers = 750

  /// VXLAN network identifier, 0…2²⁴−1.
  public var vni: UInt32 = 1
  /// UDP port; 0 = kernel default (8472).
  public var port: UInt16 = 0
  /// MTU before encapsulation; nil = that of the external interface.
  public var mtu: UInt32?
  /// Group based policy extension.
  public var gbp = false
  /// The kernel learns forwarding entries.
  public var learning = false
  /// Plain routes to nodes on the same link.
  public var directRouting = false
  /// See `NexthopObjects`.
  public var nexthopObjects = NexthopObjects.auto

  /// All defaults: VNI 1, the kernel's port, the underlay's MTU, no direct routing.
  public init() {}

  /// Reads the `Backend` object of the network configuration.
  public init(_ options: JSONObject) throws(BackendError) {
    vni = UInt32(try Self.integer(options, "VNI", 0...0xff_ffff) ?? 1)
    port = UInt16(try Self.integer(options, "Port", 0...65535) ?? 0)
    let mtu = try Self.integer(options, "MTU", 0...65535) ?? 0
    self.mtu = mtu == 0 ? nil : UInt32(mtu)
    gbp = try Self.flag(options, "GBP")
    learning = try Self.flag(options, "Learning")
    directRouting = try Self.flag(options, "DirectRouting")
    if let v = options.caseInsensitive("NexthopObjects"), !v.isNull {
      guard let n = v.stringValue.flatMap({ NexthopObjects(rawValue: $0.lowercased()) }) else {
        throw Self.wrong("NexthopObjects", v, "\"auto\", \"always\" or \"never\"")
      }
      nexthopObjects = n
    }
  }

  private static func wrong(_ key: String, _ value: JSONValue, _ expected: String) -> BackendError {
    BackendError("invalid vxlan option \"\(key)\": found \(value.text()), expected \(expected)")
  }

  private static func integer(_ o: JSONObject, _ key: String, _ range: ClosedRange<Int>) throws(BackendError) -> Int? {
    guard let v = o.caseInsensitive(key), !v.isNull else { return nil }
    guard let n = v.intValue, range.contains(n) else {
      throw wrong(key, v, "a whole number from \(range.lowerBound) to \(range.upperBound)")
    }
    return n
  }

  private static func flag(_ o: JSONObject, _ key: String) throws(BackendError) -> Bool {
    guard let v = o.caseInsensitive(key), !v.isNull else { return false }
    guard let b = v.boolValue else { throw wrong(key, v, "true or false") }
    return b
  }

  /// `flannel.<VNI>` or `flannel-v6.<VNI>` (contract §12.1).
  public func deviceName(_ family: AddressFamily) -> String {
    (family == .ipv4 ? "flannel." : "flannel-v6.") + String(vni)
  }

  /// Bytes that encapsulation adds: 50 over IPv4, 70 over IPv6 (contract §19.12).
  public static func overhead(_ family: AddressFamily) -> UInt32 { family == .ipv4 ? 50 : 70 }

  /// MTU of the device of a family on an underlay of `underlayMTU`, never larger than fits into it.
  public func deviceMTU(_ family: AddressFamily, underlayMTU: UInt32) -> UInt32 {
    let outer = min(mtu ?? underlayMTU, underlayMTU)
    return outer > Self.overhead(family) ? outer - Self.overhead(family) : 0
  }
}

/// What a node publishes for its peers, `{"VNI":1,"VtepMAC":"0a:1b:…"}` (contract §6.2).
public struct VXLANData: Hashable, Sendable {
  /// VXLAN network identifier of the node.
  public var vni: UInt32
  /// MAC of the node's VXLAN device.
  public var mac: MACAddress

  /// - Parameters:
  ///   - vni: 0…2²⁴−1; not checked here.
  ///   - mac: that of the node's VXLAN device of one family.
  public init(vni: UInt32, mac: MACAddress) {
    self.vni = vni
    self.mac = mac
  }

  /// Reads the published value.
  public init(_ value: JSONValue) throws(BackendError) {
    guard let o = value.objectValue, let text = o.caseInsensitive("VtepMAC")?.stringValue, let mac = MACAddress(text)
    else {
      throw BackendError("found \(value.text()), expected {\"VNI\":<number>,\"VtepMAC\":\"<mac>\"}")
    }
    self.mac = mac
    vni = o.caseInsensitive("VNI")?.intValue.flatMap { UInt32(exactly: $0) } ?? 0
  }

  /// Reads the published text. The form every node writes is taken without building a JSON value: a large cluster has
  /// thousands of them.
  public init(text: String) throws(BackendError) {
    if let quick = Self.scan(Array(text.utf8)) {
      self = quick
      return
    }
    guard let value = try? JSONValue(parsing: text) else {
      throw BackendError("found \(text), expected {\"VNI\":<number>,\"VtepMAC\":\"<mac>\"}")
    }
    try self.init(value)
  }

  private static func scan(_ s: [UInt8]) -> VXLANData? {
    let head = Array(#"{"VNI":"#.utf8)
    let middle = Array(#","VtepMAC":""#.utf8)
    guard s.starts(with: head) else { return nil }
    var i = head.count
    var vni: UInt32 = 0
    while i < s.count, (0x30...0x39).contains(s[i]), vni <= 0xff_ffff {
      vni = vni * 10 + UInt32(s[i] - 0x30)
      i += 1
    }
    guard i > head.count, s[i...].starts(with: middle), s.count == i + middle.count + 19 else { return nil }
    i += middle.count
    guard s[i + 17] == UInt8(ascii: "\""), s[i + 18] == UInt8(ascii: "}"),
      let mac = MACAddress(String(decoding: s[i..<i + 17], as: UTF8.self))
    else { return nil }
    return VXLANData(vni: vni, mac: mac)
  }

  /// The published value, key order as upstream writes it.
  public var json: JSONValue { ["VNI": .integer(vni), "VtepMAC": .string(mac.description)] }
}
