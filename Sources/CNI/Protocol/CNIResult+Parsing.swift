import JSON
import NetTypes

extension CNIResult {
  /// Reads a result of any version. One without `cniVersion` is taken to be in `version` (contract cni §A2).
  public init(parsing json: JSONValue, version: CNIVersion) throws(CNIError) {
    guard let o = json.objectValue else {
      guard json.isNull else { throw .decoding("result is no JSON object but \(json.kindWithArticle)") }
      self.init()
      return
    }
    let text = try o.string("cniVersion") ?? ""
    let own = text.isEmpty ? version : try CNIVersion(parsing: text)
    guard let layout = own.layout, layout.contains(own.description) else {
      throw .decoding("unsupported CNI result version \(quoted(text))")
    }
    if own < .v0_3_0 { try self.init(old: o) } else { try self.init(current: o) }
  }

  /// Reads `prevResult`, which must have the layout of the configuration's version.
  public init(previous json: JSONValue, version: CNIVersion) throws(CNIError) {
    guard let layout = version.layout else {
      throw .decoding("could not parse prevResult: unsupported CNI result version \"\(version)\"")
    }
    if let own = try json.objectValue?.string("cniVersion"), !own.isEmpty, !layout.contains(own) {
      throw .decoding(
        "could not parse prevResult: result type supports [\(layout.joined(separator: " "))] "
          + "but unmarshalled CNIVersion is \(quoted(own))")
    }
    do throws(CNIError) {
      try self.init(parsing: json, version: version)
    } catch {
      throw .decoding("could not parse prevResult: \(error.message)")
    }
  }

  /// 0.3.0 and later. The `version` of each address follows from the address and is not read.
  private init(current o: JSONObject) throws(CNIError) {
    self.init()
    for v in try o.array("interfaces") ?? [] { interfaces.append(try Interface(json: v)) }
    for v in try o.array("ips") ?? [] { ips.append(try IP(json: v)) }
    for v in try o.array("routes") ?? [] { routes.append(try Route(json: v)) }
    dns = try DNS(json: o.field("dns"))
  }

  /// 0.1.0 and 0.2.0: IPv4 before IPv6, routes too.
  private init(old o: JSONObject) throws(CNIError) {
    self.init()
    for name in ["ip4", "ip6"] {
      guard let e = try o.object(name) else { continue }
      ips.append(IP(address: try prefix(e, "ip"), gateway: try address(e, "gateway")))
      for v in try e.array("routes") ?? [] {
        let r = try Route(json: v)
        routes.append(Route(dst: r.dst, gw: r.gw))
      }
    }
    dns = try DNS(json: o.field("dns"))
  }
}

/// A member with an address and length.
private func prefix(_ o: JSONObject, _ name: String) throws(CNIError) -> IPPrefix {
  let text = try o.string(name) ?? ""
  guard let p = IPPrefix(text) else { throw .decoding("invalid CIDR address: \(text)") }
  return p
}

/// A member with a plain address; absent and empty are nil.
func address(_ o: JSONObject, _ name: String) throws(CNIError) -> IPAddress? {
  guard let text = try o.string(name), !text.isEmpty else { return nil }
  guard let a = IPAddress(text) else { throw .decoding("invalid IP address: \(text)") }
  return a
}

private func members(_ json: JSONValue, _ what: String) throws(CNIError) -> JSONObject {
  guard let o = json.objectValue else { throw wrongKind(what, json, "object") }
  return o
}

extension CNIResult.Interface {
  fileprivate init(json: JSONValue) throws(CNIError) {
    let o = try members(json, "interfaces")
    self.init(
      name: try o.string("name") ?? "", mac: try o.string("mac") ?? "", mtu: try o.integer("mtu") ?? 0,
      sandbox: try o.string("sandbox") ?? "", socketPath: try o.string("socketPath") ?? "",
      pciID: try o.string("pciID") ?? "")
  }
}

extension CNIResult.IP {
  fileprivate init(json: JSONValue) throws(CNIError) {
    let o = try members(json, "ips")
    self.init(
      address: try prefix(o, "address"), gateway: try CNI.address(o, "gateway"), interface: try o.integer("interface"))
  }
}

extension CNIResult.Route {
  /// Reads `{"dst": …, "gw": …}` and the optional members of 1.1.0.
  public init(json: JSONValue) throws(CNIError) {
    let o = try members(json, "routes")
    let unsigned = 0...Int(UInt32.max)
    self.init(
      dst: try prefix(o, "dst"), gw: try CNI.address(o, "gw"), mtu: try o.integer("mtu", in: unsigned) ?? 0,
      advmss: try o.integer("advmss", in: unsigned) ?? 0, priority: try o.integer("priority", in: unsigned) ?? 0,
      table: try o.integer("table", in: unsigned), scope: try o.integer("scope", in: 0...255))
  }
}

extension CNIResult.DNS {
  /// Reads a `dns` object; nil is an empty one.
  public init(json: JSONValue?) throws(CNIError) {
    guard let json else {
      self.init()
      return
    }
    let o = try members(json, "dns")
    self.init(
      nameservers: try o.strings("nameservers"), domain: try o.string("domain") ?? "",
      search: try o.strings("search"), options: try o.strings("options"))
  }
}
