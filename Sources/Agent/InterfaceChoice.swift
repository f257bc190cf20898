import NetTypes
import Subnets

extension ExternalInterface {
  /// Something the operator should read about the choice.
  public enum Note: Hashable, Sendable {
    case info(String)
    case warning(String)
  }

  /// Chooses the interface from what was observed; touches nothing (contract flanneld §5, §19.13–16, §19.42).
  /// - Parameters:
  ///   - families: the enabled families.
  ///   - route: the kernel's route look-up; nil when the address cannot be reached.
  ///   - note: receives failed candidates and fallbacks.
  public static func choose(
    _ options: InterfaceOptions, facts: HostFacts, families: [AddressFamily], route: (IPAddress) -> Route?,
    note: (Note) -> Void = { _ in }
  ) throws(InterfaceError) -> ExternalInterface {
    let published = try options.publicAddresses(families)
    let choice = InterfaceChoice(facts: facts, families: families, published: published)
    if options.interfaces.isEmpty, options.patterns.isEmpty, options.canReach.isEmpty {
      return try choice.complete(choice.byDefault(note))
    }
    var candidates = options.interfaces.map(InterfaceChoice.Candidate.named)
    candidates += options.patterns.map(InterfaceChoice.Candidate.matching)
    if !options.canReach.isEmpty { candidates.append(.reaching(options.canReach)) }
    for candidate in candidates {
      do {
        return try choice.complete(choice.look(candidate, route))
      } catch {
        note(.info("Could not find valid interface matching \(candidate.text): \(error)"))
      }
    }
    throw InterfaceError("Failed to find interface to use that matches the interfaces and/or regexes provided")
  }
}

/// The single look-ups (contract flanneld §5.2).
struct InterfaceChoice {
  /// An interface, with the addresses that the look-up already fixed.
  struct Match {
    var link: Link
    var address = PerFamily<IPAddress>()
  }

  /// One thing to try.
  enum Candidate {
    case named(String)
    case matching(String)
    case reaching(String)

    var text: String {
      switch self {
      case .named(let text), .matching(let text), .reaching(let text): text
      }
    }
  }

  let facts: HostFacts
  let families: [AddressFamily]
  let published: PerFamily<IPAddress>

  private var isDualStack: Bool { families.count > 1 }

  func look(_ candidate: Candidate, _ route: (IPAddress) -> Route?) throws(InterfaceError) -> Match {
    switch candidate {
    case .named(let text): try named(text)
    case .matching(let pattern): try matching(pattern)
    case .reaching(let text): try reaching(text, route)
    }
  }

  /// No interface option: the owner of the published address, or the interface of the default route.
  func byDefault(_ note: (ExternalInterface.Note) -> Void) throws(InterfaceError) -> Match {
    for family in published.families {
      guard let address = published[family] else { continue }
      if facts.owner(of: address) != nil { return try owning(address) }
      note(
        .warning(
          "no interface has the public address \(address) (a NAT in front of this node?); "
            + "using the interface of the default route, set --iface to choose another"))
    }
    return try ofDefaultRoute()
  }

  /// A name or an address.
  func named(_ text: String) throws(InterfaceError) -> Match {
    if let address = IPAddress(text) { return try owning(address) }
    guard let link = facts.links.first(where: { $0.name == text }) else {
      throw InterfaceError("error looking up interface \(text): no such network interface")
    }
    return Match(link: link)
  }

  /// The owner of an address. With two families, the published IPv6 address must be on the same interface when an IPv4
  /// address is given, and takes precedence over a given IPv6 address.
  private func owning(_ address: IPAddress) throws(InterfaceError) -> Match {
    guard families.contains(address.family) else {
      throw InterfaceError("error looking up interface \(address): its address family is not enabled")
    }
    let owner = facts.owner(of: address)
    if isDualStack, let v6 = published.ipv6, v6 != address {
      let v6Owner = facts.owner(of: v6)
      if address.family == .ipv6, let v6Owner {
        return Match(link: v6Owner, address: PerFamily(ipv6: v6Owner.index == owner?.index ? address : v6))
      }
      if address.family == .ipv4, let owner {
        guard let v6Owner else { throw InterfaceError("error looking up v6 interface \(v6): no interface has it") }
        guard v6Owner.index == owner.index else {
          throw InterfaceError("v6 interface \(v6Owner.name) must be the same with v4 interface \(owner.name)")
        }
        return Match(link: owner, address: PerFamily(ipv4: address, ipv6: v6))
      }
    }
    guard let owner else {
      throw InterfaceError("error looking up interface \(address): no interface has this address")
    }
    var match = Match(link: owner)
    match.address[address.family] = address
    return match
  }

  /// The first interface whose addresses match, one of every enabled family; otherwise the first whose name matches.
  func matching(_ pattern: String) throws(InterfaceError) -> Match {
    let search = try InterfacePattern(pattern)
    for link in facts.links {
      var match = Match(link: link)
      for family in families {
        match.address[family] = facts.usableAddresses(of: link, family).first { search.isFound(in: $0.description) }
      }
      if match.address.families == families { return match }
    }
    if let link = facts.links.first(where: { search.isFound(in: $0.name) }) { return Match(link: link) }
    let seen = facts.links.map { link in
      let all = families.flatMap { facts.usableAddresses(of: link, $0) }
      return "\(link.name):[\(all.map(\.description).joined(separator: " "))]"
    }
    throw InterfaceError(
      "could not match pattern \(pattern) to any of the available network interfaces (\(seen.joined(separator: ", ")))")
  }

  /// The interface the kernel would send to an address by, with the source address it would use.
  func reaching(_ text: String, _ route: (IPAddress) -> Route?) throws(InterfaceError) -> Match {
    guard let target = IPAddress(text) else {
      throw InterfaceError("failed to parse \(text): --iface-can-reach takes an IP address")
    }
    guard let found = route(target), let link = facts.link(found.device) else {
      throw InterfaceError("no route to \(text)")
    }
    var match = Match(link: link)
    if families.contains(target.family), let source = found.source { match.address[target.family] = source }
    return match
  }

  /// The interface of the first default route of every family; they must agree.
  func ofDefaultRoute() throws(InterfaceError) -> Match {
    var found = PerFamily<Link>()
    for family in families {
      let hint = "set --iface to choose an interface"
      guard let route = facts.routes.first(where: { $0.destination == family.any && $0.table == 254 }) else {
        throw InterfaceError("failed to get default interface: no IPv\(family.rawValue) default route; \(hint)")
      }
      guard let link = facts.link(route.device) else {
        throw InterfaceError(
          "failed to get default interface: the IPv\(family.rawValue) default route names no single interface; \(hint)")
      }
      found[family] = link
    }
    if let v4 = found.ipv4, let v6 = found.ipv6, v4.index != v6.index {
      throw InterfaceError(
        "v6 default route interface \(v6.name) must be the same with v4 default route interface \(v4.name); "
          + "set --iface to choose one that has addresses of both families")
    }
    guard let link = found.ipv4 ?? found.ipv6 else { throw InterfaceError("none defined stack") }
    return Match(link: link)
  }

  /// Adds what the look-up left open: addresses, MTU, published addresses (contract flanneld §5.3).
  func complete(_ match: Match) throws(InterfaceError) -> ExternalInterface {
    let link = match.link
    guard link.mtu > 0 else { throw InterfaceError("failed to determine MTU for \(link.name) interface") }
    var address = PerFamily<IPAddress>()
    var published = self.published
    for family in families {
      guard let own = match.address[family] ?? facts.usableAddresses(of: link, family).first else {
        throw InterfaceError("failed to find IPv\(family.rawValue) address for interface \(link.name)")
      }
      address[family] = own
      published[family] = published[family] ?? own
    }
    return ExternalInterface(
      name: link.name, index: link.index, mtu: link.mtu, address: address, publicAddress: published)
  }
}

/// A regular expression that is searched for (not matched against the whole text).
private struct InterfacePattern {
  private let expression: Regex<AnyRegexOutput>

  init(_ pattern: String) throws(InterfaceError) {
    do {
      // Scalars, as Go's expressions work on code points.
      expression = try Regex(pattern).matchingSemantics(.unicodeScalar)
    } catch {
      throw InterfaceError("could not compile the regular expression \(goQuoted(pattern)): \(error)")
    }
  }

  func isFound(in text: String) -> Bool { ((try? expression.firstMatch(in: text)) ?? nil) != nil }
}
