import JSON
import NetTypes

extension CNIResult {
  /// The document a plugin prints: indented by four spaces, without a final newline.
  /// - Throws: `cannot convert: no valid IP addresses` for 0.1.0 and 0.2.0.
  public func document(as version: CNIVersion) throws(CNIError) -> [UInt8] {
    try json(as: version).bytes(JSONValue.Style(indent: 4, sorted: version >= .v1_0_0))
  }

  /// The result in a version's layout. From 1.0.0 on the members are meant to be written sorted by name.
  public func json(as version: CNIVersion) throws(CNIError) -> JSONValue {
    let r = try reduced(to: version)
    var o = JSONObject([("cniVersion", .string(version.description))])
    if version < .v0_3_0 {
      for ip in r.ips { o[ip.address.family == .ipv4 ? "ip4" : "ip6"] = r.oldAddress(ip) }
      o["dns"] = .object(r.dns.json)
      return .object(o)
    }
    let old = version < .v1_0_0
    if !r.interfaces.isEmpty { o["interfaces"] = .array(r.interfaces.map { .object($0.json) }) }
    if !r.ips.isEmpty { o["ips"] = .array(r.ips.map { .object($0.json(withVersion: old)) }) }
    if !r.routes.isEmpty { o["routes"] = .array(r.routes.map { .object($0.json) }) }
    if old || !r.dns.isEmpty { o["dns"] = .object(r.dns.json) }
    return .object(o)
  }

  /// `ip4` or `ip6` of 0.1.0 and 0.2.0, with the routes of its family.
  private func oldAddress(_ ip: IP) -> JSONValue {
    var o = JSONObject([("ip", .string(ip.address.description))])
    if let g = ip.gateway { o["gateway"] = .string(g.description) }
    let own = routes.filter { $0.dst.family == ip.address.family }
    if !own.isEmpty { o["routes"] = .array(own.map { .object($0.json) }) }
    return .object(o)
  }
}

extension JSONObject {
  /// Adds a member unless it has its zero value.
  fileprivate mutating func add(_ name: String, _ text: String) { if !text.isEmpty { self[name] = .string(text) } }
  fileprivate mutating func add(_ name: String, _ number: Int) { if number != 0 { self[name] = .integer(number) } }
  fileprivate mutating func add(_ name: String, _ list: [String]) {
    if !list.isEmpty { self[name] = .array(list.map { .string($0) }) }
  }
}

extension CNIResult.Interface {
  fileprivate var json: JSONObject {
    var o = JSONObject([("name", .string(name))])
    o.add("mac", mac)
    o.add("mtu", mtu)
    o.add("sandbox", sandbox)
    o.add("socketPath", socketPath)
    o.add("pciID", pciID)
    return o
  }
}

extension CNIResult.IP {
  fileprivate func json(withVersion: Bool) -> JSONObject {
    var o = JSONObject()
    if withVersion { o["version"] = address.family == .ipv4 ? "4" : "6" }
    if let interface { o["interface"] = .integer(interface) }
    o["address"] = .string(address.description)
    if let gateway { o["gateway"] = .string(gateway.description) }
    return o
  }
}

extension CNIResult.Route {
  /// The members in the order of the reference library: dst, gw, then what is set of the rest.
  public var json: JSONObject {
    var o = JSONObject([("dst", .string(dst.description))])
    if let gw { o["gw"] = .string(gw.description) }
    o.add("mtu", mtu)
    o.add("advmss", advmss)
    o.add("priority", priority)
    if let table { o["table"] = .integer(table) }
    if let scope { o["scope"] = .integer(scope) }
    return o
  }
}

extension CNIResult.DNS {
  fileprivate var json: JSONObject {
    var o = JSONObject()
    o.add("nameservers", nameservers)
    o.add("domain", domain)
    o.add("search", search)
    o.add("options", options)
    return o
  }
}
