// Package agent says in a few words what a User-Agent tells of a client.
//
// The package imports nothing of this module. A client can send any text. So no answer
// has more of it than the name of a product.
package agent

import (
	"cmp"
	"fmt"
	"strings"
	"sync"

	"github.com/mileusna/useragent"
)

// Unknown is the Device of a User-Agent that is not understood.
const Unknown = "Unknown device"

// Device returns the label of a client, such as "Firefox on Linux". It is safe for
// concurrent use.
func Device(userAgent string) string {
	devices.RLock()
	d, known := devices.of[userAgent]
	devices.RUnlock()
	if known {
		return d
	}
	d = parse(userAgent)
	if len(userAgent) <= maxDeviceText {
		devices.Lock()
		defer devices.Unlock()
		if devices.of == nil || len(devices.of) >= maxDevices {
			devices.of = make(map[string]string) // whoever fills it pays for it
		}
		devices.of[strings.Clone(userAgent)] = strings.Clone(d)
	}
	return d
}

// devices are what the last User-Agents mean. To take one apart costs more than to read
// its session.
var devices struct {
	sync.RWMutex
	of map[string]string
}

// The most that devices holds, and the longest text, which no row exceeds.
const (
	maxDevices    = 1024
	maxDeviceText = 512
)

func parse(userAgent string) string {
	ua := useragent.Parse(userAgent)
	name, system := ua.Name, ua.OS
	if ua.Device == "iPhone" || ua.Device == "iPad" {
		system = ua.Device
	}
	switch {
	case name == "Trident":
		name = useragent.InternetExplorer
	case !isProduct(name, userAgent):
		name = ""
	}
	switch {
	case name != "" && system != "":
		return name + " on " + system
	case name != "" || system != "":
		return name + system
	}
	return Unknown
}

// isProduct reports whether the name that was found in a User-Agent can be that of a
// client. Anybody can send a sentence, which would stand on the pages of others.
func isProduct(name, userAgent string) bool {
	if len(name) < 2 || len(name) > 40 || strings.TrimSpace(name) != name {
		return false
	}
	for _, c := range name {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune(" ._-", c)) {
			return false
		}
	}
	// Products have no space (RFC 9110, 10.1.5), but for one that does it all the same.
	return !strings.Contains(name, " ") || name == useragent.OperaMini || !strings.Contains(userAgent, name)
}

// What a Device is called in a User-Agent, where that differs.
var (
	productOf = map[string]string{"Edge": "Edg", "Internet Explorer": "Trident", "Samsung Browser": "SamsungBrowser"}
	systemOf  = map[string]string{"Windows": "Windows NT", "macOS": "Macintosh", "ChromeOS": "CrOS"}
)

// Family returns a User-Agent that says no more than the Device of the given one. Every
// reader of User-Agents understands it.
func Family(userAgent string) string {
	device := Device(userAgent)
	if device == Unknown {
		return ""
	}
	name, system, both := strings.Cut(device, " on ")
	if !both {
		return device
	}
	family := fmt.Sprintf("%s/0 (%s)", cmp.Or(productOf[name], name), cmp.Or(systemOf[system], system))
	if Device(family) == device {
		return family
	}
	return device
}
