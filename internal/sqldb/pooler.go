package sqldb

import (
	"fmt"
	"reflect"

	"github.com/seed-296ca7ab/usersession/internal/pqread"
)

// refuseSplit returns an error for a connection of a driver that sends a
// statement and its arguments apart: lib/pq without binary_parameters, and
// version 5 of pgx in the mode "describe exec", or in "cache statement", which
// before its version 5.5 numbers what it keeps, as other clients do. The error
// names the parameter of the connection string that makes them go together.
func refuseSplit(driverConn any) error {
	if pqread.SendsApart(driverConn) {
		return splitError("lib/pq", "binary_parameters=yes")
	}
	if t := reflect.TypeOf(driverConn); t.Kind() == reflect.Pointer && t.Elem().PkgPath() == "github.com/jackc/pgx/v5/stdlib" {
		switch pgxMode(driverConn) {
		case "cache statement", "describe exec":
			return splitError("pgx", "default_query_exec_mode=exec")
		}
	}
	return nil
}

func splitError(driver, parameter string) error {
	return fmt.Errorf("usersession: Options.Index.NoPreparedStatements: %s sends a statement and its arguments apart, and a pooler may get another client's in between: add %s to the connection string", driver, parameter)
}

// pgxMode returns how a connection of pgx runs statements when it is not told
// for each, or "". It looks by reflection, because this module does not depend
// on pgx: driverConn.Conn().Config().DefaultQueryExecMode.
func pgxMode(driverConn any) string {
	// The names are constants: with others the linker could leave out no method of
	// any type in the program.
	v, ok := result(reflect.ValueOf(driverConn).MethodByName("Conn"))
	if !ok {
		return ""
	}
	if v, ok = result(v.MethodByName("Config")); !ok {
		return ""
	}
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		return ""
	}
	mode := v.Elem().FieldByName("DefaultQueryExecMode")
	if !mode.IsValid() || !mode.CanInterface() {
		return ""
	}
	return fmt.Sprint(mode.Interface())
}

// result calls a method that takes nothing and returns one value.
func result(method reflect.Value) (v reflect.Value, ok bool) {
	if !method.IsValid() || method.Type().NumIn() != 0 || method.Type().NumOut() != 1 {
		return v, false
	}
	return method.Call(nil)[0], true
}
