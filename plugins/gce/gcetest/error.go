package gcetest

import (
	"fmt"
	"net/http"
)

// apiError is a refusal: at once, as an HTTP error, or inside an operation.
type apiError struct {
	HTTP     int
	Reason   string // as in errors[].reason: "notFound"
	Code     string // as in operation.error.errors[].code: "RESOURCE_NOT_FOUND"
	Text     string
	Location string // what the request has wrong, where that is known
}

func (e *apiError) Error() string { return fmt.Sprintf("%d %s: %s", e.HTTP, e.Reason, e.Text) }

// body is the error as an HTTP answer.
func (e *apiError) body() any {
	one := map[string]any{"message": e.Text, "domain": "global", "reason": e.Reason}
	switch {
	case e.HTTP == http.StatusPreconditionFailed:
		one["location"], one["locationType"] = "If-Match", "header"
	case e.Reason == "rateLimitExceeded" || e.Reason == "quotaExceeded":
		one["domain"] = "usageLimits"
	}
	out := map[string]any{"code": e.HTTP, "message": e.Text, "errors": []any{one}}
	if status := map[int]string{400: "INVALID_ARGUMENT", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 501: "UNIMPLEMENTED", 503: "UNAVAILABLE"}[e.HTTP]; status != "" && e.Code == "" {
		out["status"] = status
	}
	return map[string]any{"error": out}
}

// inside is the error as an operation has it.
func (e *apiError) inside() map[string]any {
	one := map[string]any{"code": e.Code, "message": e.Text}
	if e.Code == "" {
		one["code"] = "INVALID_FIELD_VALUE"
	}
	if e.Location != "" {
		one["location"] = e.Location
	}
	return map[string]any{"errors": []any{one}}
}

func badRequest(format string, args ...any) *apiError {
	return &apiError{HTTP: http.StatusBadRequest, Reason: "badRequest", Text: fmt.Sprintf(format, args...)}
}

// invalid is about a field: "resource.networkInterfaces[0].networkIP".
func invalid(field string, value any, format string, args ...any) *apiError {
	return &apiError{HTTP: http.StatusBadRequest, Reason: "invalid", Code: "INVALID_FIELD_VALUE", Location: field,
		Text: fmt.Sprintf("Invalid value for field '%s': '%v'. ", field, value) + fmt.Sprintf(format, args...)}
}

func required(field string) *apiError {
	return &apiError{HTTP: http.StatusBadRequest, Reason: "required", Code: "REQUIRED", Location: field, Text: fmt.Sprintf("Required field '%s' not specified", field)}
}

func notFound(name string) *apiError {
	return &apiError{HTTP: http.StatusNotFound, Reason: "notFound", Code: "RESOURCE_NOT_FOUND", Text: fmt.Sprintf("The resource '%s' was not found", name)}
}

func exists(name string) *apiError {
	return &apiError{HTTP: http.StatusConflict, Reason: "alreadyExists", Code: "RESOURCE_ALREADY_EXISTS", Text: fmt.Sprintf("The resource '%s' already exists", name)}
}

func notReady(name string) *apiError {
	return &apiError{HTTP: http.StatusBadRequest, Reason: "resourceNotReady", Code: "RESOURCE_NOT_READY", Text: fmt.Sprintf("The resource '%s' is not ready", name)}
}

func inUse(what, name, user string) *apiError {
	return &apiError{HTTP: http.StatusBadRequest, Reason: "resourceInUseByAnotherResource", Code: "RESOURCE_IN_USE_BY_ANOTHER_RESOURCE",
		Text: fmt.Sprintf("The %s resource '%s' is already being used by '%s'", what, name, user)}
}

func addressInUse(ip string) *apiError {
	return &apiError{HTTP: http.StatusBadRequest, Reason: "ipInUseByAnotherResource", Code: "IP_IN_USE_BY_ANOTHER_RESOURCE",
		Text: fmt.Sprintf("IP '%s' is already being used by another resource.", ip)}
}

func stale(text string) *apiError {
	return &apiError{HTTP: http.StatusPreconditionFailed, Reason: "conditionNotMet", Code: "CONDITION_NOT_MET", Text: text}
}

func notStopped(name string) *apiError {
	return &apiError{HTTP: http.StatusBadRequest, Reason: "invalidUsage", Code: "UNSUPPORTED_OPERATION", Text: fmt.Sprintf("Instance is starting or running. Please stop the instance '%s' first.", name)}
}

func unimplemented() *apiError {
	return &apiError{HTTP: http.StatusNotImplemented, Reason: "notImplemented", Text: "The server has not implemented the functionality required to fulfil the request."}
}
