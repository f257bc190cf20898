import NetTypes

extension Diagnosis {
  /// What is broken on the way between a pod and the internet, apart from packet filters; nil when everything that was
  /// looked at is in place.
  public func firstBrokenLink(betweenInternetAnd pod: PodName) -> String? {
    let internet = Internet.address(family).address
    return self.pod(pod, sendsTo: internet) ?? attachment(pod) ?? node(pod.node, sendsTo: internet)
      ?? underlay(pod.node) ?? router(to: pod.node)
  }

  private func node(_ node: String, sendsTo destination: IPAddress) -> String? {
    guard let view = scene.nodes[node]?.view else { return "node \(node): its network namespace is gone" }
    guard view.forwarding.contains(family) else { return "node \(node): \(name) forwarding is switched off" }
    guard let route = view.route(to: destination) else { return "node \(node): it has no route to \(destination)" }
    guard route.kind == .unicast else { return "node \(node): its route \(route.destination) drops packets" }
    let gateway = LabPlan.router(family).address
    guard view.hop(of: route).gateway == gateway else {
      return "node \(node): its route \(route.destination) to the internet does not lead to the router \(gateway)"
    }
    return nil
  }

  private func router(to node: String) -> String? {
    guard let lan = scene.lan else { return "the underlay: its network namespace is gone" }
    guard lan.forwarding.contains(family) else { return "the router: \(name) forwarding is switched off" }
    guard let out = lan.link(Internet.name), out.isUp else {
      return "the router: its interface internet is down or gone"
    }
    for (link, address) in [(lan.link(Underlay.bridge), LabPlan.router(family)), (out, Internet.gateway(family))] {
      guard let link, lan.addresses(of: link, family).contains(where: { $0.prefix.address == address.address }) else {
        return "the router: it lacks its address \(address.address)"
      }
    }
    guard let view = scene.internet else { return "the internet: its network namespace is gone" }
    guard let eth0 = view.link(Internet.interface), eth0.isUp else { return "the internet: its eth0 is down or gone" }
    let own = Internet.address(family).address
    guard view.addresses(of: eth0, family).contains(where: { $0.prefix.address == own }) else {
      return "the internet: it lacks its address \(own)"
    }
    guard let address = scene.nodes[node]?.underlay[family], view.route(to: address) != nil else {
      return "the internet: it has no route to node \(node)"
    }
    return nil
  }
}
